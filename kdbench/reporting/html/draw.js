"use strict";
// Plots as SVG: axes, lines with bands, points with bars and labels, and what is said of a point below the pointer.
// A series has the colours of its curve as custom properties, so light and dark need no drawing anew.
const Plots = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const FONT = 12, TICK = 5;
  const SYMBOLS = { circle: (r) => `M${r} 0A${r} ${r} 0 1 1 ${-r} 0A${r} ${r} 0 1 1 ${r} 0z`,
    square: (r) => `M${-r} ${-r}H${r}V${r}H${-r}z`,
    diamond: (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0z`,
    "triangle-up": (r) => `M0 ${-1.2 * r}L${1.2 * r} ${r}H${-1.2 * r}z`,
    "triangle-down": (r) => `M0 ${1.2 * r}L${1.2 * r} ${-r}H${-1.2 * r}z`,
    cross: (r) => `M${-r / 3} ${-r}H${r / 3}V${-r / 3}H${r}V${r / 3}H${r / 3}V${r}H${-r / 3}V${r / 3}H${-r}V${-r / 3}H${-r / 3}z`,
    bar: (r) => `M-1.2 ${-r}H1.2V${r}H-1.2z` };

  function element(name, attributes = {}, parent = null, text = "") {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  }
  function colored(look, parent, className = "") {
    const group = element("g", { class: `series ${className}` }, parent);
    group.style.setProperty("--light", look.color);
    group.style.setProperty("--dark", look.dark);
    return group;
  }
  const symbol = (look, size) => (SYMBOLS[look.symbol] ?? SYMBOLS.circle)(size);

  const context = document.createElement("canvas").getContext("2d");
  function textWidth(text) {
    context.font = `${FONT}px ${getComputedStyle(document.body).fontFamily}`;
    return context.measureText(text).width;
  }

  // --- numbers along an axis
  function ticks(low, high, most) {
    const power = 10 ** Math.floor(Math.log10((high - low) / most));
    const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((s) => (high - low) / s <= most);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step || 0); // no -0
    return found;
  }
  function format(values) {
    const gap = values.length > 1 ? values[1] - values[0] : values[0] || 1;
    const top = Math.max(...values.map(Math.abs));
    if (top >= 1e5) return (v) => v.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 4 });
    if (top < 1e-3) return (v) => (v ? v.toExponential(1) : "0");
    const digits = [0, 1, 2, 3, 4, 5, 6].find((n) => Math.abs(gap * 10 ** n - Math.round(gap * 10 ** n)) < 1e-6) ?? 6;
    return (v) => v.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
  const number = (v) => v.toLocaleString("en", { maximumSignificantDigits: Math.abs(v) >= 1000 ? 6 : 4 });

  function range(values, room, zero = false) {
    const finite = values.filter((v) => Number.isFinite(v));
    if (!finite.length) return [0, 1];
    let low = Math.min(...finite), high = Math.max(...finite);
    if (zero) low = Math.min(low, 0);
    if (low === high) { const half = Math.abs(low) * 0.02 || 0.5; low -= half; high += half; }
    const more = (high - low) * room;
    return [zero && low === 0 ? 0 : low - more, high + more];
  }

  // --- the frame: grid, ticks and titles; gives the two scales
  function frame(svg, { width, height, x, y }) {
    const top = 8 + (y.title ? 18 : 0), bottom = height - 42;
    const yTicks = y.names ? y.names.map((_, i) => i) : ticks(...y.range, Math.max(2, Math.round((bottom - top) / 45)));
    const yText = y.names ? (i) => y.names[i] : format(yTicks);
    const widest = Math.max(0, ...yTicks.map((v) => textWidth(yText(v))));
    const left = Math.min(widest, width * 0.42) + 2 * TICK + 2, right = width - 14;
    const scaleX = (v) => left + ((v - x.range[0]) / (x.range[1] - x.range[0])) * (right - left);
    const scaleY = (v) => bottom - ((v - y.range[0]) / (y.range[1] - y.range[0])) * (bottom - top);
    const group = element("g", { class: "frame" }, svg);
    for (const v of yTicks) {
      const at = scaleY(v);
      element("path", { class: "grid", d: `M${left} ${at}H${right}` }, group);
      const text = element("text", { x: left - TICK - 2, y: at + 4, "text-anchor": "end" }, group, yText(v));
      if (y.names && widest > width * 0.42) { // a long name is cut; the whole one is its title
        let name = y.names[v];
        while (name.length > 4 && textWidth(`${name}…`) > width * 0.42) name = name.slice(0, -1);
        if (name !== y.names[v]) { text.textContent = `${name}…`; element("title", {}, text, y.names[v]); }
      }
    }
    const xTicks = ticks(...x.range, Math.max(2, Math.min(8, Math.round((right - left) / 70))));
    const xText = format(xTicks);
    for (const v of xTicks) {
      const at = scaleX(v);
      element("path", { class: "grid", d: `M${at} ${top}V${bottom}` }, group);
      element("path", { class: "axis", d: `M${at} ${bottom}v${TICK}` }, group);
      element("text", { x: at, y: bottom + 18, "text-anchor": "middle" }, group, xText(v));
    }
    element("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }, group);
    element("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, group, x.title);
    if (y.title) element("text", { x: 2, y: 12 }, group, y.title);
    return { scaleX, scaleY, left, right, top, bottom };
  }

  // --- labels beside points, where they cover neither points nor their bars nor each other
  function place(points, area) {
    const taken = points.flatMap((p) => [{ x: p.px - 7, y: p.py - 7, w: 14, h: 14 },
      { x: p.px - 2, y: p.ends[0], w: 4, h: p.ends[1] - p.ends[0] }]);
    const overlap = (a, b) => Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x))
      * Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));
    const out = (a) => Math.max(0, area.left - a.x) + Math.max(0, a.x + a.w - area.right)
      + Math.max(0, area.top - a.y) + Math.max(0, a.y + a.h - area.bottom);
    return points.map((point) => {
      const w = textWidth(point.text) + 2, h = FONT + 3;
      let best = null;
      for (const far of [10, 22, 36, 54]) {
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, -1], [0, 1], [1, -1], [1, 1], [-1, -1], [-1, 1]]) {
          const x = point.px + dx * far - (dx < 0 ? w : dx > 0 ? 0 : w / 2), y = point.py + dy * far - h / 2;
          const box = { x, y, w, h };
          const cost = far + 40 * out(box) + taken.reduce((sum, other) => sum + 5 * overlap(box, other), 0);
          if (!best || cost < best.cost) best = { box, cost, far };
        }
      }
      taken.push(best.box);
      return best;
    });
  }
  function labels(svg, points, area) {
    const placed = place(points, area);
    points.forEach((point, i) => {
      const { box, far } = placed[i], group = colored(point.look, svg, "label");
      if (far > 10) { // too far to be seen as its own
        const to = Math.abs(box.x - point.px) < Math.abs(box.x + box.w - point.px) ? box.x : box.x + box.w;
        element("path", { class: "leader", d: `M${point.px} ${point.py}L${to} ${box.y + box.h / 2}` }, group);
      }
      element("text", { x: box.x + 1, y: box.y + FONT }, group, point.text);
    });
  }

  // --- what is said of the nearest point
  function hover(box, svg, points) {
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    box.append(tip);
    const ring = element("circle", { class: "ring", r: 7, visibility: "hidden" }, svg);
    const leave = () => { tip.hidden = true; ring.setAttribute("visibility", "hidden"); };
    svg.addEventListener("pointerleave", leave);
    const find = (event) => {
      const size = svg.getBoundingClientRect(), zoom = svg.viewBox.baseVal.width / size.width;
      const x = (event.clientX - size.left) * zoom, y = (event.clientY - size.top) * zoom;
      let best = null, nearest = 28 ** 2;
      for (const point of points) {
        const distance = (point.px - x) ** 2 + (point.py - y) ** 2;
        if (distance < nearest) { nearest = distance; best = point; }
      }
      if (!best) { leave(); return; }
      ring.setAttribute("cx", best.px);
      ring.setAttribute("cy", best.py);
      ring.setAttribute("visibility", "visible");
      tip.replaceChildren(...best.said.map((text, i) => {
        const line = document.createElement(i ? "span" : "b");
        line.textContent = text;
        return line;
      }));
      tip.hidden = false;
      const room = size.width - tip.offsetWidth - 4;
      tip.style.left = `${Math.max(0, Math.min(best.px / zoom + 12, room))}px`;
      tip.style.top = `${Math.max(0, best.py / zoom - tip.offsetHeight - 10)}px`;
    };
    svg.addEventListener("pointermove", find);
    svg.addEventListener("pointerdown", find);
  }

  // --- a plot: series of points that are joined or not
  function draw(box, plot, paper) {
    const width = paper ?? Math.max(220, box.clientWidth);
    const height = paper && !plot.y.names ? 0.75 * plot.height : plot.height;
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, class: "drawing", "aria-hidden": "true" });
    const area = frame(svg, { ...plot, width, height });
    const { scaleX, scaleY } = area, said = [], named = [];
    const clip = element("clipPath", { id: `clip-${draw.count += 1}` }, svg);
    element("rect", { x: area.left - 6, y: area.top - 6, width: area.right - area.left + 12,
      height: area.bottom - area.top + 12 }, clip);
    const marks = element("g", { "clip-path": `url(#${clip.id})` }, svg);
    if (plot.rule !== null && plot.rule !== undefined) {
      element("path", { class: "rule", d: `M${area.left} ${scaleY(plot.rule)}H${area.right}` }, marks);
    }
    for (const one of plot.series) {
      const group = colored(one.look, marks, one.thin ? "thin" : "");
      const at = one.x.map((x, i) => (x === null || one.y[i] === null ? null : [scaleX(x), scaleY(one.y[i])]));
      if (one.band) element("path", { class: "band", d: outline(one, scaleX, scaleY) }, group);
      if (one.joined) {
        element("path", { class: "line", d: path(at), "stroke-dasharray": one.look.dash }, group);
      }
      at.forEach((place, i) => {
        if (!place) return;
        const [px, py] = place, spread = one.bars?.[i];
        const [low, high] = [-1, 1].map((sign) => scaleY(one.y[i] + sign * (spread ?? 0)));
        if (spread) {
          element("path", { class: "spread", d: `M${px} ${low}V${high}M${px - 4} ${low}h8M${px - 4} ${high}h8` }, group);
        }
        if (one.size) {
          const d = one.mark ? SYMBOLS[one.mark](one.size) : symbol(one.look, one.size);
          element("path", { class: `point ${one.mark ?? ""}`, d, transform: `translate(${px} ${py})` }, group);
        }
        if (one.tell) said.push({ px, py, said: one.tell(i) });
        if (one.text) named.push({ px, py, ends: [high, low], text: one.text, look: one.look });
      });
    }
    labels(svg, named, area);
    box.replaceChildren(svg);
    hover(box, svg, said);
  }
  draw.count = 0;
  function path(places) {
    let from = "M";
    return places.map((place) => {
      if (!place) { from = "M"; return ""; }
      const text = `${from}${place[0].toFixed(1)} ${place[1].toFixed(1)}`;
      from = "L";
      return text;
    }).join("");
  }
  function outline({ x, y, band }, scaleX, scaleY) {
    const whole = x.map((_, i) => i).filter((i) => y[i] !== null && band[i] !== null);
    const edge = (i, sign) => [scaleX(x[i]), scaleY(y[i] + sign * band[i])];
    const there = whole.map((i) => edge(i, 1)), back = whole.reverse().map((i) => edge(i, -1));
    return whole.length ? `${path([...there, ...back])}z` : "";
  }

  return { draw, range, number, element, colored, symbol };
})();
