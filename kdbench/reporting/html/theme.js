"use strict";
// Before anything is drawn: the scheme that the reader chose last time.
(() => {
  document.documentElement.dataset.scripted = "";
  try {
    const chosen = localStorage.getItem("kdbench-scheme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.scheme = chosen;
  } catch { /* storage may be forbidden; the system's scheme is used */ }
})();
