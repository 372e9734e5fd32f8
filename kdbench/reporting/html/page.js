"use strict";
// Light and dark, sorting, filters, and the way from a link to what it names.
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // --- light and dark
  const toggle = document.getElementById("scheme");
  const isDark = () => root.dataset.scheme
    ? root.dataset.scheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => {
    toggle.textContent = isDark() ? "Light" : "Dark";
    toggle.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} scheme`);
  };
  const announce = () => { label(); document.dispatchEvent(new Event("scheme")); };
  toggle.addEventListener("click", () => {
    root.dataset.scheme = isDark() ? "light" : "dark";
    try { localStorage.setItem("kdbench-scheme", root.dataset.scheme); } catch { /* not remembered then */ }
    announce();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
  label();

  // --- the menu of a narrow screen
  const menu = document.getElementById("menu"), sections = document.getElementById("sections");
  const open = (wanted) => {
    menu.setAttribute("aria-expanded", String(wanted));
    sections.classList.toggle("open", wanted);
  };
  menu.addEventListener("click", () => open(menu.getAttribute("aria-expanded") !== "true"));
  sections.addEventListener("click", (event) => { if (event.target.matches("a")) open(false); });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || menu.getAttribute("aria-expanded") !== "true") return;
    open(false);
    menu.focus();
  });
  addEventListener("pointerdown", (event) => { if (!event.target.closest(".top")) open(false); });

  // --- sorting: the rows of each group among themselves; what has no number comes last
  const value = (row, column) => {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim().toLowerCase();
    return cell.dataset.sort === undefined ? null : Number(cell.dataset.sort);
  };
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  function sort(table, column, direction) {
    for (const body of table.tBodies) {
      const rows = [...body.rows];
      rows.sort((a, b) => {
        if (direction === "none") return a.dataset.place - b.dataset.place;
        const [x, y] = [value(a, column), value(b, column)];
        if (x === null || y === null) return (x === null) - (y === null);
        return direction === "ascending" ? compare(x, y) : compare(y, x);
      });
      body.append(...rows);
    }
    all("thead th", table).forEach((head, i) => head.setAttribute("aria-sort", i === column ? direction : "none"));
  }
  for (const button of all("table.board thead button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const first = head.cellIndex === 0 ? "ascending" : "descending";
      const second = first === "ascending" ? "descending" : "ascending";
      const next = { none: first, [first]: second, [second]: "none" }[head.getAttribute("aria-sort")];
      sort(head.closest("table"), head.cellIndex, next);
    });
  }

  // --- filters
  const form = document.getElementById("filters");
  const runs = all("details.run");
  const texts = new Map(); // of each run, once they are searched
  const text = (run) => texts.get(run) ?? texts.set(run, run.textContent.toLowerCase()).get(run);
  const fits = (run, wanted) =>
    ["method", "task", "seed", "state"].every((key) => !wanted[key] || run.dataset[key] === wanted[key]) &&
    (!wanted.study || run.dataset.studies.split(" ").includes(wanted.study)) &&
    (!wanted.text || wanted.text.split(/\s+/).every((word) => text(run).includes(word)));
  function filter() {
    const wanted = Object.fromEntries(new FormData(form));
    wanted.text = wanted.text.trim().toLowerCase();
    let count = 0;
    for (const run of runs) {
      run.hidden = !fits(run, wanted);
      count += !run.hidden;
    }
    document.getElementById("count").textContent =
      count === runs.length ? `All ${count} runs` : `${count} of ${runs.length} runs`;
    document.getElementById("none").hidden = count > 0;
  }
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(); // browsers may keep what was typed when a page is loaded again

  // --- links: open the run that is meant, even if a filter hides it
  function follow() {
    const name = decodeURIComponent(location.hash.slice(1));
    const target = name && document.getElementById(name);
    if (!target) return;
    if (target.matches("details.run")) {
      if (target.hidden) { form.reset(); runs.forEach((run) => { run.hidden = false; }); }
      target.open = true;
      target.scrollIntoView({ block: "start" });
      target.querySelector("summary").focus({ preventScroll: true });
    } else if (target.matches(".card")) {
      target.scrollIntoView({ block: "nearest" });
      target.focus({ preventScroll: true });
    }
  }
  for (const link of all("table.board td a")) {
    link.addEventListener("click", (event) => { // the table stays where it is, as far as there is room for the card
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const top = scrollY;
      location.hash = link.hash;
      scrollTo({ top, behavior: "instant" });
      follow();
    });
  }
  addEventListener("hashchange", follow);
  follow();
})();
