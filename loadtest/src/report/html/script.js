"use strict";
// The page is whole without this. It adds the theme button, values beside the pointer, and the result as a file.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const root = document.documentElement;

  const theme = document.getElementById("theme");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); });
  prefersDark.addEventListener("change", name);
  name();

  const result = document.getElementById("result").textContent;
  const copy = document.getElementById("copy");
  if (navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      let told = "Copied";
      try { await navigator.clipboard.writeText(result); } catch { told = "Can't copy"; }
      copy.textContent = told;
      setTimeout(() => { copy.textContent = "Copy JSON"; }, 1500);
    });
  }
  const download = document.getElementById("download");
  download.hidden = false;
  download.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([result], { type: "application/json" }));
    link.download = "loadtest.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  const make = (parent, tag, attributes, text) => {
    const element = parent instanceof SVGElement ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return parent.appendChild(element);
  };

  for (const drawing of document.querySelectorAll(".drawing")) {
    const svg = drawing.querySelector("svg");
    const { line, columns } = JSON.parse(drawing.querySelector(".hover").textContent);
    const overlay = make(svg, "g", { "aria-hidden": "true" });
    const tip = make(drawing, "div", { class: "tip", role: "status" });
    tip.hidden = true;
    let at = -1;

    const hide = () => { at = -1; tip.hidden = true; overlay.replaceChildren(); };
    const show = (index) => {
      if (index === at) return;
      at = index;
      const column = columns[index];
      overlay.replaceChildren();
      tip.replaceChildren();
      if (line) make(overlay, "line", { class: "cursor", x1: column.x, x2: column.x, y1: line[0], y2: line[1] });
      make(tip, "p", {}, column.title);
      for (const value of column.values) {
        if (value.y !== undefined) make(overlay, "circle", { class: `cursor-dot ${value.class}`, cx: column.x, cy: value.y, r: 4.5 });
        const row = make(tip, "div", {});
        make(row, "span", { class: value.class || column.class || "" }, value.name);
        make(row, "b", {}, value.text);
      }
      tip.hidden = false;
      // Beside the place, on the side that has the room, and never out of the drawing.
      const scale = svg.clientWidth / svg.viewBox.baseVal.width;
      const x = column.x * scale;
      const right = x + 14 + tip.offsetWidth <= svg.clientWidth;
      const left = right ? x + 14 : x - 14 - tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(left, svg.clientWidth - tip.offsetWidth))}px`;
      tip.style.top = `${line ? line[0] * scale + 8 : column.y * scale + 16}px`;
    };
    const nearest = (x, y) => {
      let best = -1;
      let least = Infinity;
      columns.forEach((column, index) => {
        const distance = line ? Math.abs(column.x - x) : Math.abs(column.y - y);
        if (distance < least) [best, least] = [index, distance];
      });
      return best;
    };
    if (!columns.length) continue;

    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      show(nearest((event.clientX - box.left) * scale, (event.clientY - box.top) * scale));
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        show(Math.max(0, Math.min(columns.length - 1, at + step)));
      } else if (event.key === "Escape") {
        hide();
      }
    });
  }
})();
