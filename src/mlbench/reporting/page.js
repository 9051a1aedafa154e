const specs = JSON.parse(document.getElementById("specs").textContent);
const root = document.documentElement;
const button = document.getElementById("theme");
const CELL = ".chart [role=link]";

function config(dark) {
  const text = dark ? "#e8ecf2" : "#1d2330";
  const line = dark ? "#5a6577" : "#c3cad6";
  return {
    background: "transparent", font: "system-ui, sans-serif", view: { stroke: null },
    axis: { labelColor: text, titleColor: text, tickColor: line, domainColor: line, gridColor: dark ? "#2c3441" : "#e8ebf0", labelFontSize: 12, titleFontSize: 12 },
    legend: { labelFontSize: 12, labelColor: text, titleColor: text, orient: "bottom" }, title: { color: text }, rule: { color: text }, tick: { color: text },
    text: { color: text }, range: { category: dark ? ["#f2a65a", "#6cb4ee", "#8fd19e", "#e58fb1", "#c9b1ff", "#e6d96c", "#9ad9d9", "#d9a18f"] : ["#c05f00", "#1f6fb2", "#2c8a43", "#b03a6b", "#6a4fb3", "#857400", "#1f8a8a", "#8f5a44"] },
  };
}

function draw(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  button.setAttribute("aria-pressed", String(dark));
  const places = [...document.querySelectorAll("[data-chart]")];
  Promise.all(places.map(async (place) => {
    await vegaEmbed(place, specs[place.dataset.chart], { renderer: "svg", actions: false, logLevel: 1, config: config(dark), loader: { target: "_self" }, tooltip: { theme: dark ? "dark" : "light" } });
    for (const cell of place.querySelectorAll(CELL)) cell.setAttribute("tabindex", "0");
    place.dataset.drawn = dark ? "dark" : "light";
  })).then(() => { root.dataset.drawn = dark ? "dark" : "light"; });
}

const wish = window.matchMedia("(prefers-color-scheme: dark)");
button.addEventListener("click", () => draw(root.dataset.theme !== "dark"));
wish.addEventListener("change", () => draw(wish.matches));
draw(wish.matches);

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(CELL)) event.target.dispatchEvent(new MouseEvent("click", { bubbles: true }));
});

const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  const cases = [...document.querySelectorAll("[data-case]")];
  for (const each of cases) each.hidden = !each.dataset.case.toLowerCase().includes(wanted);
  document.getElementById("shown").textContent = wanted ? `${cases.filter((each) => !each.hidden).length} of ${cases.length} cases` : "";
});

// A link to a case shows it, whatever the filter hides.
window.addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target?.hidden) return;
  filter.value = "";
  filter.dispatchEvent(new Event("input"));
  target.scrollIntoView();
});
