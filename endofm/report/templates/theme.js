(() => {
  "use strict";
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const isDark = () => {
    if (root.dataset.theme) return root.dataset.theme === "dark";
    return matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const show = () => {
    button.textContent = isDark() ? "Light colours" : "Dark colours";
    button.setAttribute("aria-pressed", String(isDark()));
  };
  // Pages opened from a disk may not be allowed to store anything.
  try { const kept = localStorage.getItem("endofm-theme"); if (kept) root.dataset.theme = kept; } catch { /* not kept */ }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("endofm-theme", root.dataset.theme); } catch { /* not kept */ }
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  document.getElementById("print").addEventListener("click", () => print());
  show();
})();
