"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (name) => document.getElementById(name);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const tables = { signed: bytes(data.tables.signed), unsigned: bytes(data.tables.unsigned) };
  const canvases = [at("original"), at("overlay")];
  const state = { image: 0, method: 0, klass: 0, x: null, y: null };
  const hint = at("value").textContent;
  let grey = null;
  let shown = null;
  let latest = 0;

  const number = (value) => value === 0 ? "0" : Number(value).toPrecision(4);

  function decoded(map) {
    if (!map.decoded) {
      const raw = bytes(map.values);
      map.decoded = new Uint16Array(raw.buffer, raw.byteOffset, raw.byteLength / 2);
    }
    return map.decoded;
  }

  function options(select, words, chosen) {
    select.replaceChildren(...words.map((word, place) => {
      const option = document.createElement("option");
      option.textContent = word;
      option.value = String(place);
      option.selected = place === chosen;
      return option;
    }));
    select.disabled = words.length < 2;
  }

  const image = () => data.images[state.image];
  const view = () => image().views[state.method];
  const map = () => view().classes[state.klass];

  function limits() {
    const maps = at("shared").checked ? view().classes : [map()];
    const signed = maps.some((each) => each.signed);
    const high = Math.max(...maps.map((each) => Math.max(each.high, 0)));
    const low = Math.min(...maps.map((each) => Math.min(each.low, 0)));
    const magnitude = Math.max(high, -low);
    if (signed) return { low: -(magnitude || 1), high: magnitude || 1, magnitude: magnitude || 1, signed };
    return { low: 0, high: high || 1, magnitude: high || 1, signed };
  }

  function draw() {
    if (!grey) return;
    const { width, height } = image();
    const current = map();
    const values = decoded(current);
    const scale = limits();
    const table = tables[scale.signed ? "signed" : "unsigned"];
    const opacity = Number(at("opacity").value) / 100;
    const threshold = Number(at("threshold").value) / 100;
    const fades = at("by-value").checked;
    const step = (current.high - current.low) / data.steps;
    const picture = new ImageData(new Uint8ClampedArray(grey.data), width, height);
    for (let place = 0; place < values.length; place += 1) {
      const value = current.low + values[place] * step;
      const strength = Math.min(Math.abs(value) / scale.magnitude, 1);
      if (strength < threshold || (current.low === 0 && current.high === 0)) continue;
      const share = fades ? opacity * strength : opacity;
      const level = (value - scale.low) / (scale.high - scale.low);
      const colour = 3 * Math.round(255 * Math.min(Math.max(level, 0), 1));
      for (let channel = 0; channel < 3; channel += 1) {
        const pixel = 4 * place + channel;
        picture.data[pixel] = grey.data[pixel] * (1 - share) + table[colour + channel] * share;
      }
    }
    canvases[0].getContext("2d").putImageData(grey, 0, 0);
    canvases[1].getContext("2d").putImageData(picture, 0, 0);
    canvases.forEach(cross);
    bar(table);
    at("low").textContent = number(scale.low) + (scale.signed ? " (against)" : "");
    at("high").textContent = number(scale.high) + (scale.signed ? " (for)" : "");
    at("opacity-value").textContent = `${at("opacity").value} %`;
    at("threshold-value").textContent = `${at("threshold").value} %`;
    at("caption").textContent = `${current.caption}, by ${view().words}`;
    at("failed").hidden = view().failed.length === 0;
    at("failed").textContent = view().failed.length ? `Failed checks: ${view().failed.join("; ")}` : "";
    read();
  }

  function bar(table) {
    const context = at("bar").getContext("2d");
    for (let place = 0; place < 256; place += 1) {
      context.fillStyle = `rgb(${table[3 * place]} ${table[3 * place + 1]} ${table[3 * place + 2]})`;
      context.fillRect(place, 0, 1, 12);
    }
  }

  function cross(canvas) {
    if (state.x === null) return;
    const context = canvas.getContext("2d");
    const arm = Math.max(3, Math.round(canvas.width / 40));
    const line = Math.max(1, Math.round(canvas.width / 300));
    context.fillStyle = "#00ffff";
    for (const side of [-1, 1]) {
      const away = side < 0 ? -arm - 1 : 2;
      context.fillRect(state.x + away, state.y - Math.floor(line / 2), arm, line);
      context.fillRect(state.x - Math.floor(line / 2), state.y + away, line, arm);
    }
  }

  function read() {
    if (state.x === null) return;
    const current = map();
    const place = state.y * image().width + state.x;
    const value = current.low + decoded(current)[place] * (current.high - current.low) / data.steps;
    const share = 100 * Math.abs(value) / limits().magnitude;
    at("value").textContent = `column ${state.x}, row ${state.y}: ${number(value)} (${share.toFixed(1)} % of the scale)`;
  }

  function move(x, y) {
    state.x = Math.min(Math.max(x, 0), image().width - 1);
    state.y = Math.min(Math.max(y, 0), image().height - 1);
    draw();
  }

  function load() {
    const { width, height, picture, views } = image();
    for (const canvas of canvases) {
      canvas.width = width;
      canvas.height = height;
    }
    state.method = Math.min(state.method, views.length - 1);
    state.klass = Math.min(state.klass, view().classes.length - 1);
    state.x = null;
    state.y = null;
    at("value").textContent = hint;
    options(at("method"), views.map((each) => each.words), state.method);
    options(at("class"), view().classes.map((each) => each.caption), state.klass);
    for (const button of at("images").children) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.place) === state.image));
    }
    grey = null;
    latest += 1;
    const wanted = latest;
    shown = new Image();
    shown.onload = () => {
      if (wanted !== latest) return;
      const context = canvases[0].getContext("2d", { willReadFrequently: true });
      context.drawImage(shown, 0, 0);
      grey = context.getImageData(0, 0, width, height);
      draw();
      document.body.dataset.ready = "yes";
    };
    shown.src = picture;
  }

  function gallery() {
    if (data.images.length < 2) return;
    at("images").replaceChildren(...data.images.map((each, place) => {
      const button = document.createElement("button");
      const picture = document.createElement("img");
      picture.src = each.picture;
      picture.alt = "";
      button.type = "button";
      button.dataset.place = String(place);
      button.append(picture, each.name);
      button.addEventListener("click", () => { state.image = place; load(); });
      return button;
    }));
  }

  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("method").addEventListener("change", (event) => {
    state.method = Number(event.target.value);
    state.klass = Math.min(state.klass, view().classes.length - 1);
    options(at("class"), view().classes.map((each) => each.caption), state.klass);
    draw();
  });
  at("class").addEventListener("change", (event) => { state.klass = Number(event.target.value); draw(); });
  for (const name of ["opacity", "threshold", "by-value", "shared"]) at(name).addEventListener("input", draw);
  for (const canvas of canvases) {
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      move(
        Math.floor((event.clientX - box.left) / box.width * canvas.width),
        Math.floor((event.clientY - box.top) / box.height * canvas.height),
      );
    });
    canvas.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 10 : 1;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (!(event.key in moves)) return;
      event.preventDefault();
      const [x, y] = state.x === null ? [image().width >> 1, image().height >> 1] : [state.x, state.y];
      move(x + moves[event.key][0], y + moves[event.key][1]);
    });
  }
  gallery();
  load();
})();
