"use strict";
// Sort a table by a column: numbers by value, what is missing last, a second click the other way.
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = Array.from(body.rows, row => [row.cells[head.cellIndex].textContent, row]);
    const missing = text => text === "" || text === "n/a";
    rows.sort(([one], [other]) => {
      if (missing(one) || missing(other)) return missing(one) - missing(other);
      const apart = Number(one) - Number(other);
      const order = Number.isNaN(apart) ? one.localeCompare(other, "en", {numeric: true}) : apart;
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  });
}
