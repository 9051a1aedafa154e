const specs = JSON.parse(document.getElementById("specs").textContent);
const root = document.documentElement;
const button = document.getElementById("theme");
const CELL = ".chart [role=link]";

// Colours are the page's own, so that a picture follows the theme, and print, without being drawn again.
const CONFIG = {
  background: "transparent", padding: { left: 4, right: 18, top: 5, bottom: 5 }, font: "system-ui, sans-serif", view: { stroke: null },
  axis: { labelColor: "var(--text)", titleColor: "var(--text)", tickColor: "var(--line)", domainColor: "var(--line)", gridColor: "var(--grid)", labelFontSize: 12, titleFontSize: 12, labelSeparation: 4 },
  legend: { labelFontSize: 12, labelColor: "var(--text)", titleColor: "var(--text)", symbolBaseFillColor: "var(--text)", symbolBaseStrokeColor: "var(--text)", orient: "bottom", layout: { bottom: { direction: "vertical", anchor: "start" } } },
  title: { color: "var(--text)" }, rule: { color: "var(--text)" }, tick: { color: "var(--text)" }, text: { color: "var(--text)" },
  range: { category: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => `var(--colour-${number})`) },
};

async function draw(place) {
  const legend = { ...CONFIG.legend, columns: place.clientWidth < 420 ? 2 : 4 };
  const options = { renderer: "svg", actions: false, logLevel: 1, config: { ...CONFIG, legend }, loader: { target: "_self" }, tooltip: { theme: "page" } };
  try {
    await vegaEmbed(place, specs[place.dataset.chart], options);
  } catch (error) {
    place.replaceChildren(`A gap: this chart could not be drawn (${error.message}). Its numbers are below.`);
    place.classList.add("warning");
  }
  for (const cell of place.querySelectorAll(CELL)) cell.setAttribute("tabindex", "0");
}

Promise.all([...document.querySelectorAll("[data-chart]")].map(draw)).then(() => { root.dataset.drawn = "yes"; });

const wish = window.matchMedia("(prefers-color-scheme: dark)");
function colour(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  button.setAttribute("aria-pressed", String(dark));
}
button.addEventListener("click", () => colour(root.dataset.theme !== "dark"));
wish.addEventListener("change", () => colour(wish.matches));
colour(wish.matches);

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(CELL)) event.target.dispatchEvent(new MouseEvent("click", { bubbles: true }));
});

const filter = document.getElementById("filter");
filter?.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  const cases = [...document.querySelectorAll("[data-case]")];
  for (const each of cases) each.hidden = !each.dataset.case.toLowerCase().includes(wanted);
  document.getElementById("shown").textContent = wanted ? `${cases.filter((each) => !each.hidden).length} of ${cases.length} cases` : "";
});

// A link to a case shows it, whatever the filter hides.
window.addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!filter || !target?.hidden) return;
  filter.value = "";
  filter.dispatchEvent(new Event("input"));
  target.scrollIntoView();
});

// What is wider than its box says so, because a scroll bar may be hidden until it is touched.
const SCROLLS = ".scroll, .graph";
const sized = new ResizeObserver((entries) => {
  for (const { target } of entries) target.toggleAttribute("data-wide", target.scrollWidth > target.clientWidth + 1);
});
const watch = (element) => [...(element.matches?.(SCROLLS) ? [element] : []), ...element.querySelectorAll(SCROLLS)].forEach((box) => sized.observe(box));
watch(document.body);
new MutationObserver((changes) => {
  for (const { addedNodes } of changes) for (const node of addedNodes) if (node.nodeType === Node.ELEMENT_NODE) watch(node);
}).observe(document.querySelector("main"), { childList: true, subtree: true });
