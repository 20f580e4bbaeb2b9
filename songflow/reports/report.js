"use strict";
// Sorts a table by the column whose heading is clicked: numbers as numbers, empty cells last, a second click turns round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const valueOf = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const compare = (one, other) => {
    const [a, b] = [Number(one), Number(other)];
    return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b;
  };
  headings.forEach((heading, column) => {
    heading.addEventListener("click", () => {
      const turn = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", turn === 1 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
      rows.sort(([one], [other]) => (one === "") - (other === "") || turn * compare(one, other));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
