// Graphs that can be read out at each point; without this they are pictures with their numbers below.

const HEIGHT = 170;
const DAY = 24 * 3600; // seconds
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const plots = [];

function words(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "%") return `${Math.round(value)} %`;
  let at = 0;
  for (; value >= 1000 && at < UNITS.length - 1; at += 1) value /= 1024;
  return `${Number(value.toPrecision(3))} ${UNITS[at]}${unit.slice(1)}`;
}

function drawn(place) {
  const { begin, step, top, unit, lines } = JSON.parse(place.dataset.graph);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px Inter" };
  const series = lines.map(({ name, tone }) => ({ label: name, stroke: colour(`--graph-${tone}`), width: 1.5, points: { show: false }, value: (_, value) => words(value, unit) }));
  const options = {
    width: place.clientWidth, height: HEIGHT, series: [{ value: (_, at) => (at ? `${date.format(at * 1000)} ${clock.format(at * 1000)}` : "–") }, ...series], cursor: { y: false, sync: { key: "graphs" } },
    scales: { y: { range: [0, top] } },
    axes: [
      { ...axis, space: 70, size: 24, values: (_, ticks, __, ___, apart) => ticks.map((one) => (apart < DAY ? clock : date).format(one * 1000)) },
      { ...axis, size: 70, splits: () => [0, top / 2, top], values: (_, ticks) => ticks.map((one) => words(one, unit)) },
    ],
  };
  const times = lines[0].values.map((_, at) => begin + (at + 0.5) * step);
  place.replaceChildren();
  return new uPlot(options, [times, ...lines.map(({ values }) => values)], place);
}

function draw() {
  for (const plot of plots.splice(0)) plot.destroy();
  for (const place of document.querySelectorAll("[data-graph]")) plots.push(drawn(place));
}

draw();
document.addEventListener("htmx:after:swap", draw);
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-scheme"] });
