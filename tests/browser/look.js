// What can be wrong with how a page looks. Each function runs in the page, so none may use anything outside itself, and
// each returns sentences.

/** Whether a plot has marks that can be seen. */
export function drawn(plot) {
  const svg = plot.querySelector("svg").getBoundingClientRect();
  const faults = [];
  if (svg.width < 200 || svg.height < 60) faults.push(`is drawn ${svg.width} by ${svg.height}`);
  const curves = [...plot.querySelectorAll("path.curve")];
  for (const curve of curves) {
    const { width } = curve.getBoundingClientRect();
    if (!(curve.getTotalLength() > 50) || width < svg.width * 0.2) faults.push(`has a curve ${width} wide`);
  }
  const marks = [...plot.querySelectorAll("rect.bar, circle.dot, line.spread")];
  const visible = marks.filter((mark) => mark.getBoundingClientRect().width > 1);
  if (curves.length === 0 && visible.length < 2) faults.push(`has ${visible.length} marks and no curve`);
  if (plot.querySelectorAll("text.tick").length < 3) faults.push("names no values on its axes");
  if (!plot.querySelector("svg title").textContent || !plot.querySelector("svg desc").textContent) {
    faults.push("has no words for who can't see it");
  }
  return faults;
}

/** Texts that go beyond what holds them. */
export function overflowing() {
  const faults = [];
  for (const svg of document.querySelectorAll("svg")) {
    const outer = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const inner = text.getBoundingClientRect();
      if (inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1) {
        faults.push(`'${text.textContent}' goes beyond its drawing`);
      }
    }
  }
  // On a narrow screen tables scroll by themselves.
  const boxes = ".tile, .banner, .chart, .legend, .pairs, header" + (innerWidth > 1000 ? ", .table" : "");
  for (const box of document.querySelectorAll(boxes)) {
    if (box.scrollWidth > box.clientWidth + 1) faults.push(`'${box.textContent.slice(0, 60)}' goes beyond its ${box.className}`);
  }
  return faults;
}

/** Texts of a drawing that lie on each other. */
export function overlapping() {
  const faults = [];
  for (const svg of document.querySelectorAll("svg")) {
    const texts = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([name, a], index) => {
      for (const [other, b] of texts.slice(index + 1)) {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        // A line of text is taller than its letters.
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 1 && high > 0.25 * Math.min(a.height, b.height)) faults.push(`'${name}' lies on '${other}'`);
      }
    });
  }
  return faults;
}

/** Texts and curves that hardly differ from what is behind them, by the measure of WCAG. */
export function contrasts() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  // Paints colours on each other, as they may let through what is behind them.
  const luminance = (colours) => {
    for (const colour of ["white", ...colours]) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map(linear);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    const colours = [];
    for (let at = element; at; at = at.parentElement) colours.unshift(getComputedStyle(at).backgroundColor);
    return colours;
  };
  const faults = new Set();
  const check = (selector, property, least) => {
    for (const element of document.querySelectorAll(selector)) {
      const colour = getComputedStyle(element)[property];
      const ground = behind(element);
      const [dark, light] = [luminance([...ground, colour]), luminance(ground)].sort((a, b) => a - b);
      const contrast = (light + 0.05) / (dark + 0.05);
      if (contrast < least) {
        faults.add(`${element.localName} has a contrast of ${contrast.toFixed(2)}: ${colour} on ${ground.at(-1)}`);
      };
    }
  };
  check("svg text", "fill", 3.5);
  check("h1, h2, h3, p, dt, dd, small, th, td, li, caption, button", "color", 4.5);
  check(".curve", "stroke", 3);
  check(".bar", "fill", 3);
  return [...faults];
}
