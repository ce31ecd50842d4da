// The arrows beside the chapters in the sidebar have no name for those who hear the page.
for (const arrow of document.querySelectorAll(".bd-sidebar summary"))
  arrow.ariaLabel = `Pages of ${arrow.closest("li").querySelector("a").textContent.trim()}`;

// A displayed formula that is too wide gets smaller, by a third at most; one that is still too wide scrolls, by keyboard too.
// So does whatever else is wider than the page. The style sheet fades it out at an end behind which there is more.
(() => {
  const smallest = 0.67;
  const fade = (box) => {
    box.classList.toggle("snn-more-left", box.scrollLeft > 1);
    box.classList.toggle("snn-more-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  };
  const fit = () => {
    const formulas = [...document.querySelectorAll('article mjx-container[display="true"]')];
    for (const formula of formulas) formula.style.fontSize = "";
    const wide = formulas.filter((formula) => formula.scrollWidth > formula.clientWidth);
    for (const formula of wide) // step by step, because the browser rounds the unit in which a formula is measured
      for (let size = 0.97; size >= smallest && formula.scrollWidth > formula.clientWidth; size -= 0.03)
        formula.style.fontSize = `${100 * size}%`;
    for (const box of document.querySelectorAll("article :is(mjx-container, pre, table, dt, .snn-frame)")) {
      const scrolls = getComputedStyle(box).overflowX === "auto" && box.scrollWidth > box.clientWidth;
      if (scrolls) {
        box.tabIndex = 0;
        box.onscroll = () => fade(box);
        fade(box);
      } else if (box.tabIndex === 0) {
        box.removeAttribute("tabindex");
        box.classList.remove("snn-more-left", "snn-more-right");
      }
    }
  };
  const start = () => {
    fit();
    addEventListener("resize", fit);
    addEventListener("click", () => requestAnimationFrame(fit)); // what was folded had no width
  };
  addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(start));
})();
