// Ratings live in this browser until they are exported; nothing leaves the computer.
const Ratings = (() => {
  const LEVELS = ["good", "doubtful", "bad"];
  const memory = new Map();  // where the browser keeps nothing for pages from disk
  const key = (dataset, file) => `bids_hypo:${dataset}:${file}`;
  const read = (dataset, file) => {
    let text = null;
    try { text = localStorage.getItem(key(dataset, file)); } catch { text = memory.get(key(dataset, file)); }
    try { return Object.assign({rating: "", note: ""}, JSON.parse(text || "{}")); } catch { return {rating: "", note: ""}; }
  };
  const write = (dataset, file, value) => {
    const text = JSON.stringify(value), empty = !value.rating && !value.note;
    try {
      if (empty) localStorage.removeItem(key(dataset, file)); else localStorage.setItem(key(dataset, file), text);
    } catch { memory.set(key(dataset, file), text); }
  };
  const clean = text => String(text).replace(/[\t\r\n]+/g, " ").trim() || "n/a";
  const table = (dataset, files) => {
    const lines = ["source_file\trating\tnote"];
    for (const file of files) {
      const value = read(dataset, file);
      if (value.rating) lines.push([file, value.rating, clean(value.note)].join("\t"));
    }
    return lines.join("\n") + "\n";
  };
  const parse = text => {
    const [head, ...lines] = text.replace(/^\ufeff/, "").split(/\r?\n/).filter(Boolean).map(line => line.split("\t"));
    const at = name => (head || []).indexOf(name);
    if (at("source_file") < 0 || at("rating") < 0) throw new Error("expected the columns source_file and rating");
    return lines.map(cells => ({file: cells[at("source_file")], rating: cells[at("rating")],
      note: at("note") < 0 || cells[at("note")] === "n/a" ? "" : cells[at("note")] || ""}))
      .filter(row => LEVELS.includes(row.rating));
  };
  const download = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], {type: "text/tab-separated-values"}));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  return {LEVELS, read, write, table, parse, download};
})();
