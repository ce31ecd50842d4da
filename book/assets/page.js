// The arrows beside the chapters in the sidebar have no name for those who hear the page.
for (const arrow of document.querySelectorAll(".bd-sidebar summary"))
  arrow.ariaLabel = `Pages of ${arrow.closest("li").querySelector("a").textContent.trim()}`;

// A displayed formula that is too wide gets smaller, by a third at most; one that is still too wide scrolls, by keyboard too.
// So does whatever else is wider than the page.
(() => {
  const smallest = 0.67;
  const fit = () => {
    const formulas = [...document.querySelectorAll('article mjx-container[display="true"]')];
    for (const formula of formulas) formula.style.fontSize = "";
    const wide = formulas.map((formula) => [formula, formula.clientWidth / formula.scrollWidth]);
    for (const [formula, share] of wide)
      if (share < 1) formula.style.fontSize = `${100 * Math.max(smallest, share * 0.995)}%`;
    for (const box of document.querySelectorAll("article :is(mjx-container, pre, table, dt)")) {
      const scrolls = getComputedStyle(box).overflowX === "auto" && box.scrollWidth > box.clientWidth;
      if (scrolls) box.tabIndex = 0;
      else if (box.tabIndex === 0) box.removeAttribute("tabindex");
    }
  };
  const start = () => {
    fit();
    addEventListener("resize", fit);
    addEventListener("click", () => requestAnimationFrame(fit)); // what was folded had no width
  };
  addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(start));
})();
