// The scorecard's filter and sorting. Without scripts the page is whole: every claim, in the order of the chapters.
(() => {
  const place = document.querySelector(".scorecard-filter");
  if (!place) return;
  const tables = [...document.querySelectorAll("article table.scorecard")];
  const claims = tables.flatMap((table) =>
    [...table.tBodies[0].rows].map((row) => ({
      row,
      section: table.closest("section"),
      verdict: [...row.querySelector(".verdict").classList].find((name) => name !== "verdict").replaceAll("-", " "),
      source: row.cells[0].textContent.match(/\[([A-Z])\]/)[1],
      text: row.textContent.toLowerCase(),
    })),
  );

  const choice = (label, values) => {
    const box = document.createElement("select");
    box.ariaLabel = label;
    box.add(new Option(`every ${label}`, ""));
    for (const value of values) box.add(new Option(value, value));
    return box;
  };
  const each = (key) => [...new Set(claims.map((claim) => claim[key]))].sort();
  const chapters = [...new Set(claims.map((claim) => claim.section))];
  const title = (section) => section.querySelector("h2").firstChild.textContent.trim();
  const verdict = choice("verdict", each("verdict"));
  const source = choice("source", each("source"));
  const chapter = choice("chapter", chapters.map(title));
  const words = Object.assign(document.createElement("input"), { type: "search", placeholder: "words" });
  words.ariaLabel = "words";
  const why = Object.assign(document.createElement("input"), { type: "checkbox" });
  const label = document.createElement("label");
  label.append(why, " why these regions");
  const count = Object.assign(document.createElement("output"), { ariaLive: "polite" });
  place.append(verdict, source, chapter, words, label, count);

  // A link such as scorecard.html?source=P&verdict=corrected shows these claims alone.
  const asked = new URLSearchParams(location.search);
  for (const control of [verdict, source]) control.value = asked.get(control.ariaLabel) ?? "";

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const claim of claims) {
      const fits =
        (!verdict.value || claim.verdict === verdict.value) &&
        (!source.value || claim.source === source.value) &&
        (!chapter.value || title(claim.section) === chapter.value) &&
        wanted.every((word) => claim.text.includes(word));
      claim.row.hidden = !fits;
      shown += fits;
    }
    for (const section of chapters)
      section.hidden = claims.every((claim) => claim.section !== section || claim.row.hidden);
    count.textContent = `${shown} of ${claims.length} claims`;
    document.querySelector("article").classList.toggle("without-why", !why.checked);
  };
  for (const control of [verdict, source, chapter, words, why]) control.addEventListener("input", filter);

  // A link to a claim that the filter hides shows it.
  const reveal = () => {
    const goal = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!goal?.closest("[hidden]")) return;
    for (const control of [verdict, source, chapter, words]) control.value = "";
    filter();
    goal.scrollIntoView();
  };
  addEventListener("hashchange", reveal);

  // A click on a heading sorts the table by that column, a second one the other way round.
  const key = (cell) => {
    const shown = cell.querySelector("data")?.value ?? cell.textContent.replace("−", "-").replace("∞", "Infinity");
    const number = parseFloat(shown);
    return Number.isNaN(number) ? cell.textContent.trim() : number;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  for (const table of tables)
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const sign = head.ariaSort === "ascending" ? -1 : 1;
        for (const other of table.tHead.rows[0].cells) other.ariaSort = null;
        head.ariaSort = sign > 0 ? "ascending" : "descending";
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => sign * compare(key(a.cells[column]), key(b.cells[column])));
        table.tBodies[0].append(...rows);
      });
    });
  filter();
})();
