// Outlines on and off, flicker, side, ratings and the surface of a page of scans.
function startPage(dataset, title) {
  const sections = [...document.querySelectorAll("section[data-file]")];
  const root = document.documentElement;
  const pressed = (id, on) => document.getElementById(id).setAttribute("aria-pressed", String(on));
  let timer = null;
  const show = on => { root.classList.toggle("plain", !on); pressed("outlines", on); };
  const stop = () => { clearInterval(timer); timer = null; pressed("flicker", false); };
  const actions = {
    outlines() { stop(); show(root.classList.contains("plain")); },
    flicker() {
      if (timer) { stop(); show(true); return; }
      timer = setInterval(() => root.classList.toggle("plain"), 600);
      pressed("flicker", true);
    },
    side() {
      const on = root.classList.toggle("radiological");
      pressed("side", on);
      for (const tile of document.querySelectorAll(".tile.lr")) {
        tile.querySelector(".first").textContent = on ? "R" : "L";
        tile.querySelector(".last").textContent = on ? "L" : "R";
      }
    },
    export() { Ratings.download(`${title}_ratings.tsv`, Ratings.table(dataset, sections.map(s => s.dataset.file))); },
  };
  for (const [id, act] of Object.entries(actions)) document.getElementById(id).addEventListener("click", act);
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text], textarea, select")) return;
    const act = {o: "outlines", f: "flicker", r: "side"}[event.key];
    if (act) actions[act]();
  });
  for (const section of sections) startRating(section, dataset);
  startSurfaces(sections);
}

function startRating(section, dataset) {
  const form = section.querySelector(".rating"), file = section.dataset.file;
  const fill = () => {
    const value = Ratings.read(dataset, file);
    for (const box of form.elements.rating) box.checked = box.value === value.rating;
    form.elements.note.value = value.note;
  };
  const keep = () => Ratings.write(dataset, file, {rating: form.elements.rating.value, note: form.elements.note.value});
  form.addEventListener("input", keep);
  form.addEventListener("submit", event => event.preventDefault());
  form.querySelector(".clear").addEventListener("click", () => { Ratings.write(dataset, file, {rating: "", note: ""}); fill(); });
  window.addEventListener("storage", fill);
  fill();
}

async function unpack(element) {
  const bytes = Uint8Array.from(atob(element.textContent.trim()), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

let viewerLoaded = null;
function loadViewer() {
  viewerLoaded ||= unpack(document.getElementById("viewer")).then(code => {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
  });
  return viewerLoaded;
}

function hasWebGL() {
  try { return Boolean(document.createElement("canvas").getContext("webgl")); } catch { return false; }
}

function startSurfaces(sections) {
  const watch = new IntersectionObserver(entries => {
    for (const entry of entries.filter(e => e.isIntersecting)) {
      watch.unobserve(entry.target);
      drawSurface(entry.target, entry.target.closest("figure").querySelector(".meshes"));
    }
  });
  for (const section of sections) {
    for (const place of section.querySelectorAll(".surface")) watch.observe(place);
  }
}

async function drawSurface(place, packed) {
  const say = text => { place.firstElementChild.textContent = text; };
  if (typeof DecompressionStream === "undefined") return say("This browser is too old to unpack the surface.");
  if (!hasWebGL()) return say("This browser has no WebGL, so the surface cannot be drawn.");
  try {
    const [meshes] = await Promise.all([unpack(packed).then(JSON.parse), loadViewer()]);
    place.replaceChildren();
    await Plotly.newPlot(place, surfaces(meshes), {
      margin: {l: 0, r: 0, t: 0, b: 0}, showlegend: false,
      scene: {aspectmode: "data", dragmode: "orbit", camera: {eye: eyeFor(meshes, place)},
        xaxis: {visible: false}, yaxis: {visible: false}, zaxis: {visible: false}},
    }, {displayModeBar: false, responsive: true});
    place.dataset.drawn = "yes";
  } catch (error) {
    place.innerHTML = "<p></p>";
    say(`The surface could not be drawn (${error.message}).`);
  }
}

// A head fills the view from nearer than a few parts do, which may lie at its corners; a narrow view needs distance.
function eyeFor(meshes, place) {
  const away = ("icv" in meshes ? 1 : 1.6) * Math.max(1, 1.3 * place.clientHeight / place.clientWidth);
  return {x: -1.15 * away, y: 0.75 * away, z: 0.4 * away};
}

function surfaces(meshes) {
  return Object.entries(meshes).map(([key, mesh]) => {
    const [x, y, z] = mesh.tenths.map(axis => axis.map(v => v / 10)), [i, j, k] = mesh.faces;
    const icv = key === "icv";
    return {type: "mesh3d", x, y, z, i, j, k, name: mesh.name, color: icv ? "#9aa4ad" : mesh.colour,
      opacity: icv ? 0.18 : 1, hoverinfo: icv ? "skip" : "name", flatshading: false,
      lighting: {ambient: 0.55, diffuse: 0.7, specular: 0.15, roughness: 0.7}};
  });
}
