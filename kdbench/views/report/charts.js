"use strict";
// Charts, each drawn when it comes into sight; the drawing library is started for the first one.
(() => {
  const charts = JSON.parse(document.getElementById("data").textContent);
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const shade = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const isDark = () => getComputedStyle(document.documentElement).getPropertyValue("color-scheme").trim() === "dark"
    || (!document.documentElement.dataset.scheme && matchMedia("(prefers-color-scheme: dark)").matches);
  const color = (look) => (isDark() ? look.dark : look.color);
  const faint = (hex, alpha) => `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},${alpha})`;
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const FEW = 4; // lines with bands that can be told from each other
  const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };

  function start() {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
  }

  const axis = (title, more) => ({
    title: { text: escape(title), standoff: 8 }, automargin: true, gridcolor: shade("grid"), linecolor: shade("line"),
    zeroline: false, tickcolor: shade("line"), ticks: "outside", ticklen: 4,
    fixedrange: matchMedia("(pointer: coarse)").matches, ...more, // a finger scrolls the page
  });
  const layout = (x, y, more) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: shade("soft") },
    margin: { l: 16, r: 12, t: 12, b: 8 }, xaxis: x, yaxis: y,
    hoverlabel: { bgcolor: shade("raised"), bordercolor: shade("line"), font: { color: shade("ink") } }, ...more,
  });

  // --- one function a kind of chart; each gives [traces, layout, height, title] for every plot of a view
  function panels(view) {
    const few = view.panels.length > 1;
    const range = view.panels.map((panel) => panel.limits);
    return view.panels.map((panel, i) => {
      const traces = [];
      for (const curve of panel.curves) {
        const paint = color(curve), meta = { label: curve.label };
        const band = { ...meta, band: true };
        if (curve.sd) {
          const edge = (sign) => curve.y.map(
            (y, j) => (y === null || curve.sd[j] === null ? null : y + sign * curve.sd[j]));
          traces.push({ x: [...curve.x, ...[...curve.x].reverse()], y: [...edge(1), ...edge(-1).reverse()], meta: band,
            fill: "toself", fillcolor: faint(paint, 0.14), line: { width: 0 }, hoverinfo: "skip", mode: "lines" });
        }
        traces.push({ x: curve.x, y: curve.y, meta, name: escape(curve.label),
          mode: curve.thin || curve.x.length > 15 ? "lines" : "lines+markers",
          line: { color: curve.thin ? faint(paint, 0.45) : paint, width: curve.thin ? 0.8 : 2, dash: curve.dash },
          marker: { symbol: curve.symbol, size: 6, color: paint },
          ...(curve.thin ? { hoverinfo: "skip" }
            : { hovertemplate: "epoch %{x:.3~g}: <b>%{y:.4~g}</b><extra>%{fullData.name}</extra>" }) });
      }
      const rule = panel.rule === null ? [] : [{
        type: "line", xref: "paper", x0: 0, x1: 1, y0: panel.rule, y1: panel.rule,
        line: { color: shade("soft"), width: 1 }, layer: "below" }];
      const y = axis(panel.y, range[i] ? { range: range[i] } : {});
      return [traces, layout(axis("Epoch"), y, { shapes: rule }), few ? 260 : 380, panel.title];
    });
  }

  function strip(rows) {
    const names = rows.map((row) => escape(row.label));
    const traces = rows.map((row, i) => ({
      type: "scatter", mode: "markers", x: row.x, y: row.x.map(() => names[i]), meta: { label: row.label },
      text: row.seeds.map((seed) => `seed ${seed}`),
      hovertemplate: `%{text}: <b>%{x:.1f}</b><extra>${names[i]}</extra>`,
      marker: { symbol: row.symbol, size: 10, color: faint(color(row), 0.75),
        line: { width: 1, color: shade("page") } },
    }));
    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    traces.unshift({ type: "scatter", mode: "markers", x: rows.map((row) => mean(row.x)), y: names, hoverinfo: "skip",
      marker: { symbol: "line-ns", size: 22, line: { width: 2, color: shade("ink") } } });
    const y = axis("", {
      type: "category", categoryorder: "array", categoryarray: [...names].reverse(), ticks: "", fixedrange: true });
    return [[traces, layout(axis("Score (%)"), y), 90 + 27 * rows.length, ""]];
  }

  function cost(points, words) {
    const traces = points.map((point) => ({
      type: "scatter", mode: "markers", x: [point.x], y: [point.y], meta: { label: point.label },
      error_y: point.sd ? { array: [point.sd], color: color(point), thickness: 1, width: 3 } : undefined,
      hovertemplate: `%{x:,.4~g}, <b>%{y:.1f}</b><extra>${escape(point.label)}</extra>`,
      marker: { symbol: point.symbol, size: 11, color: color(point) },
    }));
    const x = axis(words.Cost, { rangemode: "tozero" });
    return [[traces, layout(x, axis("Score (%)")), 380, ""]];
  }

  const KINDS = { panels, strip, cost };

  // --- a figure: choices, legend, plots
  function legend(box, looks, hidden, redraw) {
    box.replaceChildren(...looks.map((look) => {
      const item = document.createElement("button");
      item.type = "button";
      item.setAttribute("aria-pressed", String(!hidden.has(look.label)));
      item.title = "Show or hide; double click: show alone";
      item.append(swatch(look), look.label);
      const flip = () => (hidden.has(look.label) ? hidden.delete(look.label) : hidden.add(look.label));
      item.addEventListener("click", () => { flip(); redraw(); });
      item.addEventListener("dblclick", () => {
        looks.forEach((other) => hidden.add(other.label));
        hidden.delete(look.label);
        redraw();
      });
      return item;
    }));
    if (looks.length <= FEW) return;
    const every = document.createElement("button");
    every.type = "button";
    every.className = "every";
    every.addEventListener("click", () => {
      const none = hidden.size === 0;
      hidden.clear();
      if (none) looks.forEach((look) => hidden.add(look.label));
      redraw();
    });
    box.append(every);
  }

  const SVG = "http://www.w3.org/2000/svg";
  const PATHS = { circle: "M14 2.8a3.2 3.2 0 1 0 .01 0z", "triangle-up": "M14 2l4 7h-8z",
    "triangle-down": "M14 10l4-7h-8z",
    diamond: "M14 1.5l4.5 4.5-4.5 4.5-4.5-4.5z", square: "M11 3h6v6h-6z",
    cross: "M12.7 2h2.6v2.7h2.7v2.6h-2.7V10h-2.6V7.3H10V4.7h2.7z" };
  const DASH = { solid: "", dash: "5 3", dashdot: "6 2 1.5 2", dot: "1.5 2" };
  function swatch(look) {
    const svg = document.createElementNS(SVG, "svg");
    const part = (name, attributes) => {
      const node = document.createElementNS(SVG, name);
      Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
      svg.append(node);
    };
    const size = { viewBox: "0 0 28 12", width: 28, height: 12, "aria-hidden": "true" };
    Object.entries(size).forEach(([key, value]) => svg.setAttribute(key, value));
    part("path", { d: "M0 6H28", stroke: color(look), "stroke-width": 1.8, fill: "none",
      "stroke-dasharray": DASH[look.dash] ?? look.dash.replace(/px/g, "").replace(/,/g, " ") });
    if (!look.thin) part("path", { d: PATHS[look.symbol], fill: color(look) });
    return svg;
  }

  class Figure {
    constructor(box) {
      this.box = box;
      this.chart = charts[box.dataset.chart];
      this.hidden = new Set();
      this.selects = [...box.querySelectorAll("select")];
      this.selects.forEach((select) => select.addEventListener("change", () => this.draw()));
      this.drawn = false;
      if (!this.view) { // begin with something that is there
        const keys = Object.keys(this.chart.views)[0].split("|");
        this.selects.forEach((select, i) => { select.value = keys[i]; });
      }
    }
    get view() { return this.chart.views[this.selects.map((select) => select.value).join("|")]; }
    draw() {
      start();
      this.drawn = true;
      this.box.dataset.drawn = "";
      const view = this.view, kind = this.chart.kind, plots = this.box.querySelector(".plots");
      const words = Object.fromEntries(this.selects.map((s) => [s.name, s.selectedOptions[0].textContent]));
      this.box.querySelector(".empty").hidden = Boolean(view);
      plots.querySelectorAll(".plot").forEach((node) => Plotly.purge(node));
      plots.replaceChildren();
      this.box.querySelector(".legend").replaceChildren();
      if (!view) return;
      plots.dataset.columns = view.columns ?? 1;
      for (const [traces, shape, height, title] of KINDS[kind](view, words)) {
        const cell = document.createElement("div"), node = document.createElement("div");
        if (title) { const head = document.createElement("h4"); head.textContent = title; cell.append(head); }
        node.className = "plot";
        node.style.height = `${height}px`;
        cell.append(node);
        plots.append(cell);
        Plotly.newPlot(node, traces, shape, CONFIG);
      }
      const curves = kind === "panels" ? view.panels.flatMap((panel) => panel.curves) : kind === "cost" ? view : [];
      const looks = [...new Map(curves.map((curve) => [curve.label, curve])).values()];
      if (looks.length > 1) legend(this.box.querySelector(".legend"), looks, this.hidden, () => this.show());
      this.show();
      const notes = this.box.querySelector(".notes");
      if (notes) notes.replaceChildren(...(view.notes ?? []).map((text) => {
        const item = document.createElement("li");
        item.textContent = text;
        return item;
      }));
    }
    show() {
      const items = [...this.box.querySelectorAll(".legend button:not(.every)")];
      items.forEach((item) => item.setAttribute("aria-pressed", String(!this.hidden.has(item.textContent))));
      const every = this.box.querySelector(".legend .every");
      if (every) every.textContent = this.hidden.size ? "Show all" : "Hide all";
      const shown = items.filter((item) => item.getAttribute("aria-pressed") === "true").length;
      for (const node of this.box.querySelectorAll(".plot")) {
        const visible = node.data.map(
          ({ meta }) => !meta || (!this.hidden.has(meta.label) && (!meta.band || shown <= FEW)));
        Plotly.restyle(node, { visible });
      }
    }
  }

  const figures = [...document.querySelectorAll("figure[data-chart]")].map((box) => new Figure(box));
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      const figure = figures.find((one) => one.box === target);
      if (isIntersecting && !figure.drawn) figure.draw();
    }
  }, { rootMargin: "200px" });
  figures.forEach((figure) => seen.observe(figure.box));
  document.addEventListener("scheme", () => figures.filter((one) => one.drawn).forEach((one) => one.draw()));
  addEventListener("beforeprint", () => figures.filter((one) => !one.drawn).forEach((one) => one.draw()));
})();
