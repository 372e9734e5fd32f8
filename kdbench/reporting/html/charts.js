"use strict";
// Charts: what is chosen and shown, from the numbers of the page to plots.
(() => {
  const charts = JSON.parse(document.getElementById("data").textContent);
  const FEW = 4; // lines with bands that can be told from each other
  const MARKED = 15; // points of a line that are marked one by one
  const { draw, range, number, element, colored, symbol } = Plots;

  // --- one function a kind of chart; each gives [plot, title] for every plot of a view, of what is not hidden
  function panels(view, words, hidden) {
    return view.panels.map((panel) => {
      const shown = panel.curves.filter((curve) => !hidden.has(curve.label));
      const banded = new Set(shown.map((curve) => curve.label)).size <= FEW;
      const series = shown.map((curve) => ({
        look: curve, thin: curve.thin, x: curve.x, y: curve.y, joined: true, band: banded ? curve.sd : null,
        size: curve.thin || curve.x.length > MARKED ? 0 : 3.2,
        tell: curve.thin ? null : (i) => [curve.label, `epoch ${number(curve.x[i])}: ${number(curve.y[i])}${
          curve.sd && curve.sd[i] !== null ? ` ± ${number(curve.sd[i])}` : ""}`],
      }));
      const ys = series.flatMap((one) => one.y.flatMap((y, i) =>
        (y === null ? [] : one.band && one.band[i] !== null ? [y - one.band[i], y + one.band[i]] : [y])));
      if (panel.rule !== null) ys.push(panel.rule);
      const plot = { series, rule: panel.rule, height: view.panels.length > 1 ? 270 : 380,
        x: { title: "Epoch", range: range(series.flatMap((one) => one.x), 0.02) },
        y: { title: panel.y, range: panel.limits ?? range(ys, 0.05) } };
      return [plot, panel.title];
    });
  }

  function strip(rows) {
    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    const series = rows.flatMap((row, i) => [
      { look: row, x: row.x, y: row.x.map(() => i), size: 4.5,
        tell: (j) => [row.label, `seed ${row.seeds[j]}: ${row.x[j].toFixed(1)}`] },
      { look: row, x: [mean(row.x)], y: [i], size: 9, mark: "bar",
        tell: () => [row.label, `mean: ${mean(row.x).toFixed(1)}`] },
    ]);
    const plot = { series, height: 70 + 27 * rows.length,
      x: { title: "Score (%)", range: range(rows.flatMap((row) => row.x), 0.06) },
      y: { names: rows.map((row) => row.label), range: [rows.length - 0.4, -0.6] } };
    return [[plot, ""]];
  }

  function cost(points, words, hidden) {
    const shown = points.filter((point) => !hidden.has(point.label));
    const series = shown.map((point) => ({
      look: point, x: [point.x], y: [point.y], bars: [point.sd], size: 5, text: point.label,
      tell: () => [point.label, `${words.Cost}: ${number(point.x)}`,
        `score: ${point.y.toFixed(1)}${point.sd === null ? "" : ` ± ${point.sd.toFixed(1)}`}`],
    }));
    const ys = shown.flatMap((point) => [point.y - (point.sd ?? 0), point.y + (point.sd ?? 0)]);
    const plot = { series, height: 400, x: { title: words.Cost, range: range(shown.map((p) => p.x), 0.08, true) },
      y: { title: "Score (%)", range: range(ys, 0.08) } };
    return [[plot, ""]];
  }

  const KINDS = { panels, strip, cost };

  // --- a figure: choices, legend, plots
  function swatch(look) {
    const svg = element("svg", { viewBox: "0 0 28 12", width: 28, height: 12, "aria-hidden": "true" });
    const group = colored(look, svg);
    element("path", { class: "line", d: "M0 6H28", "stroke-dasharray": look.dash }, group);
    if (!look.thin) element("path", { class: "point", d: symbol(look, 3.4), transform: "translate(14 6)" }, group);
    return svg;
  }

  class Figure {
    constructor(box) {
      this.box = box;
      this.chart = charts[box.dataset.chart];
      this.hidden = new Set();
      this.plots = box.querySelector(".plots");
      this.selects = [...box.querySelectorAll("select")];
      this.selects.forEach((select) => select.addEventListener("change", () => this.choose()));
      if (!this.view) { // begin with something that is there
        const keys = Object.keys(this.chart.views)[0].split("|");
        this.selects.forEach((select, i) => { select.value = keys[i]; });
      }
      this.choose();
    }
    get view() { return this.chart.views[this.selects.map((select) => select.value).join("|")]; }
    choose() {
      const { view, box } = this, { kind } = this.chart;
      box.querySelector(".empty").hidden = Boolean(view);
      this.plots.dataset.columns = view?.columns ?? 1;
      const curves = !view ? [] : kind === "panels" ? view.panels.flatMap((panel) => panel.curves) : kind === "cost" ? view : [];
      this.looks = [...new Map(curves.map((curve) => [curve.label, curve])).values()];
      this.legend();
      this.draw();
      const notes = box.querySelector(".notes");
      if (notes) notes.replaceChildren(...(view?.notes ?? []).map((text) => {
        const item = document.createElement("li");
        item.textContent = text;
        return item;
      }));
    }
    legend() {
      const legend = this.box.querySelector(".legend"), button = (text, act, look) => {
        const item = document.createElement("button");
        item.type = "button";
        if (look) item.append(swatch(look));
        item.append(text);
        item.addEventListener("click", () => { act(); this.show(); });
        return item;
      };
      legend.replaceChildren();
      if (this.looks.length < 2) return;
      for (const look of this.looks) {
        const item = button(look.label, () => {
          if (!this.hidden.delete(look.label)) this.hidden.add(look.label);
        }, look);
        item.title = "Show or hide; double click: show alone";
        item.addEventListener("dblclick", () => {
          this.looks.forEach((other) => this.hidden.add(other.label));
          this.hidden.delete(look.label);
          this.show();
        });
        legend.append(item);
      }
      if (this.looks.length > FEW) {
        const every = button("", () => {
          const none = this.looks.every((look) => !this.hidden.has(look.label));
          this.hidden.clear();
          if (none) this.looks.forEach((look) => this.hidden.add(look.label));
        });
        every.className = "every";
        legend.append(every);
      }
      this.press();
    }
    press() {
      const items = [...this.box.querySelectorAll(".legend button")];
      this.looks.forEach((look, i) => items[i].setAttribute("aria-pressed", String(!this.hidden.has(look.label))));
      const every = this.box.querySelector(".legend .every"), some = this.looks.some((look) => this.hidden.has(look.label));
      if (every) every.textContent = some ? "Show all" : "Hide all";
    }
    show() {
      this.press();
      this.draw();
    }
    draw(paper) { // as wide as the page of the browser, or as a sheet of paper (in pixels)
      this.plots.replaceChildren();
      if (!this.view) return;
      const width = paper && paper / Number(this.plots.dataset.columns);
      const words = Object.fromEntries(this.selects.map((s) => [s.name, s.selectedOptions[0].textContent]));
      const plots = KINDS[this.chart.kind](this.view, words, this.hidden).map(([plot, title]) => {
        const cell = document.createElement("div"), node = document.createElement("div");
        if (title) { const head = document.createElement("h4"); head.textContent = title; cell.append(head); }
        node.className = "plot";
        cell.append(node);
        this.plots.append(cell);
        return [node, plot];
      });
      plots.forEach(([node, plot]) => draw(node, plot, width)); // once all are there, and have their widths
      this.width = this.plots.clientWidth;
    }
  }

  const figures = new Map([...document.querySelectorAll("figure[data-chart]")].map((box) => {
    const figure = new Figure(box);
    return [figure.plots, figure];
  }));
  const SHEET = 680; // pixels of a sheet of paper within its margins
  addEventListener("beforeprint", () => figures.forEach((figure) => figure.draw(SHEET)));
  addEventListener("afterprint", () => figures.forEach((figure) => figure.draw()));
  const resized = new ResizeObserver((entries) => requestAnimationFrame(() => {
    for (const { target } of entries) {
      const figure = figures.get(target);
      if (target.clientWidth !== figure.width && !matchMedia("print").matches) figure.draw();
    }
  }));
  figures.forEach((figure, box) => resized.observe(box));
})();
