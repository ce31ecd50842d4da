// The arrows beside the chapters in the sidebar have no name for those who hear the page.
for (const arrow of document.querySelectorAll(".bd-sidebar summary"))
  arrow.ariaLabel = `Pages of ${arrow.closest("li").querySelector("a").textContent.trim()}`;
