(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const options = {
    // Expressions are interpreted and not compiled, so that the page can forbid the evaluation of text.
    ast: true, actions: false, renderer: "svg", defaultStyle: false,
    tooltip: { theme: "page", disableDefaultStyle: true },
  };
  const clock = (seconds) => {
    const total = Math.round(seconds), pad = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(total / 3600), minutes = Math.floor(total / 60) % 60;
    return hours ? `${hours}:${pad(minutes)}:${pad(total % 60)}` : `${minutes}:${pad(total % 60)}`;
  };
  const readMap = (result) => {
    const { end, side, values } = data.map, readout = document.getElementById("map-readout");
    result.view.addEventListener("pointermove", (event) => {
      const box = result.view.container().querySelector("svg").getBoundingClientRect();
      const origin = result.view.origin();
      const x = result.view.scale("x").invert(event.clientX - box.left - origin[0]);
      const y = result.view.scale("y").invert(event.clientY - box.top - origin[1]);
      if (!(x >= 0 && x <= end && y >= 0 && y <= end)) return;
      const cell = (seconds) => Math.min(Math.floor(seconds / end * side), side - 1);
      readout.textContent = `${clock(x)} and ${clock(y)}: similarity ${(values[cell(y) * side + cell(x)] / 100).toFixed(2)}`;
    });
  };
  const failed = (place) => (error) => {
    place.textContent = `This chart cannot be drawn (${error}); the table has its numbers.`;
  };
  for (const [id, spec] of Object.entries(data.charts)) {
    const place = document.getElementById(id);
    drawChart(place, spec, options).then((result) => {
      place.dataset.drawn = "";
      // One picture with one description: the table has the numbers.
      const svg = place.querySelector("svg");
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", place.dataset.label);
      if (id === "map") readMap(result);
    }).catch(failed(place));
  }
})();
