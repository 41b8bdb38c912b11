// Sorting, filtering and rating on the list of all scans.
function startIndex(dataset) {
  const body = document.querySelector("#scans tbody"), said = document.getElementById("said");
  const find = document.getElementById("find"), which = document.getElementById("which");
  const rows = [...body.rows].map(element => ({element, file: element.dataset.file,
    keys: JSON.parse(element.dataset.keys), name: "",
    rating: element.querySelector("select"), note: element.querySelector("input")}));
  const fill = () => {
    for (const row of rows) {
      const value = Ratings.read(dataset, row.file);
      row.rating.value = value.rating;
      row.note.value = value.note;
    }
    filter();
  };
  const shown = row => {
    const kind = which.value, rating = row.rating.value;
    return (kind === "all" || (kind === "flagged" && row.keys[1] > 0) || (kind === "unrated" && !rating) || kind === rating)
      && row.name.includes(find.value.toLowerCase());
  };
  function filter() {
    let n = 0;
    for (const row of rows) {
      row.element.hidden = !shown(row);
      n += !row.element.hidden;
    }
    document.getElementById("count").textContent = `${n} of ${rows.length} shown`;
  }
  for (const row of rows) {
    row.name = [...row.element.cells].slice(1, 3).map(cell => cell.textContent.toLowerCase()).join(" ");
    const keep = () => Ratings.write(dataset, row.file, {rating: row.rating.value, note: row.note.value});
    row.rating.addEventListener("change", keep);
    row.note.addEventListener("input", keep);
  }
  const value = (row, column) => column < row.keys.length ? row.keys[column]
    : Ratings.LEVELS.indexOf(row.rating.value);
  const compare = (a, b) => typeof a === "string" ? a.localeCompare(b, undefined, {numeric: true}) : a - b;
  const sort = (column, descending) => {
    const missing = v => v === null || v === undefined;
    rows.sort((a, b) => {
      const x = value(a, column), y = value(b, column);
      if (missing(x) || missing(y)) return missing(x) - missing(y);
      return descending ? compare(y, x) : compare(x, y);
    });
    body.append(...rows.map(row => row.element));
  };
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), column = Number(button.dataset.column);
      const descending = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : column === 1;
      for (const other of document.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(column, descending);
    });
  }
  find.addEventListener("input", filter);
  which.addEventListener("change", filter);
  window.addEventListener("storage", fill);
  document.getElementById("export").addEventListener("click", () => {
    const files = rows.map(row => row.file).sort();
    Ratings.download("ratings.tsv", Ratings.table(dataset, files));
  });
  document.getElementById("import").addEventListener("change", async event => {
    const [file] = event.target.files;
    if (!file) return;
    try {
      const known = new Set(rows.map(row => row.file)), found = Ratings.parse(await file.text());
      const own = found.filter(row => known.has(row.file));
      for (const row of own) Ratings.write(dataset, row.file, {rating: row.rating, note: row.note});
      said.textContent = `${own.length} ratings taken over, ${found.length - own.length} of other scans left out`;
      fill();
    } catch (error) {
      said.textContent = `${file.name}: ${error.message}`;
    }
    event.target.value = "";
  });
  fill();
}
