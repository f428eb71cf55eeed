"use strict";
// Draws each chart from the table beside it, and takes a dropped file. Everything else works without this script.
(() => {
  const number = (text) => (text.trim() === "" ? null : Number(text));

  function read(figure) {
    const rows = [...figure.querySelectorAll("tbody tr")];
    // lower, upper, truth, forecast: the band is drawn first, below the lines
    const columns = [3, 4, 1, 2].map((i) => rows.map((row) => number(row.cells[i].textContent)));
    return { columns: [rows.map((row) => Number(row.dataset.t)), ...columns], cells: rows.map((row) => row.cells) };
  }

  // a canvas takes no custom property: the colours are those that the keys beside it have
  function colours(figure) {
    const of = (name) => getComputedStyle(figure.querySelector(name), "::before").backgroundColor;
    const rule = getComputedStyle(document.querySelector("main > section:last-child")).borderTopColor;
    const text = getComputedStyle(figure.querySelector("figcaption")).color;
    return { truth: of(".truth"), made: of(".made"), within: of(".within"), text, rule };
  }

  const faded = (colour, share) => colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${share})`);

  // rows that do not follow each other: a bar for the interval, a tick for the forecast, a dot for the truth
  function drawApart(plot, inks) {
    const { ctx, data } = plot, unit = devicePixelRatio;
    const [from, to] = plot.series[0].idxs;
    const place = (i, value) => [plot.valToPos(data[0][i], "x", true), plot.valToPos(value, "y", true)];
    const room = plot.bbox.width / Math.max(1, to - from + 1);
    const wide = Math.max(1 * unit, Math.min(3 * unit, room * 0.6)), dot = Math.max(1.6 * unit, Math.min(2.6 * unit, room * 0.45));
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
    ctx.clip();
    for (let i = from; i <= to; i++) {
      const [, low, high, truth, made] = data.map((column) => column[i]);
      if (low !== null && high !== null) {
        const [x, bottom] = place(i, low), top = place(i, high)[1];
        ctx.fillStyle = inks.within;
        ctx.fillRect(x - wide / 2, top, wide, Math.max(1, bottom - top));
      }
      if (made !== null) {
        const [x, y] = place(i, made);
        ctx.fillStyle = inks.made;
        ctx.fillRect(x - wide / 2 - 1.5 * unit, y - unit, wide + 3 * unit, 2 * unit);
      }
      if (truth !== null) {
        const [x, y] = place(i, truth);
        ctx.beginPath();
        ctx.arc(x, y, dot, 0, 2 * Math.PI);
        ctx.fillStyle = inks.truth;
        ctx.fill();
      }
    }
    ctx.restore();
  }

  function options(figure, inks, width, say) {
    const joined = figure.dataset.joined === "1", zone = figure.dataset.zone;
    const line = (stroke, width) => ({ stroke, width, points: { show: false } });
    const hidden = line("transparent", 0);
    const axis = { stroke: inks.text, font: "12px sans-serif", grid: { stroke: inks.rule, width: 1 }, ticks: { show: false } };
    const month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const label = (plot, at, _axis, _space, apart) => at.map((t) => {
      const d = plot.opts_date(t), two = (n) => String(n).padStart(2, "0"), day = `${d.getDate()} ${month[d.getMonth()]}`;
      if (apart >= 360 * 86400) return String(d.getFullYear());
      if (apart >= 28 * 86400) return `${month[d.getMonth()]} ${d.getFullYear()}`;
      return apart >= 86400 || (d.getHours() === 0 && d.getMinutes() === 0) ? day : `${two(d.getHours())}:${two(d.getMinutes())}`;
    });
    return {
      width, height: width < 560 ? 220 : 300, padding: [8, 4, 0, 0],
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), zone),
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
      scales: { y: { range: (_plot, low, high) => uPlot.rangeNum(low, high, 0.08, false) } },
      axes: [{ ...axis, values: label, space: 70, size: 28 }, { ...axis, size: (_plot, texts) => 10 + 7 * Math.max(1, ...(texts || []).map((text) => text.length)) }],
      series: joined
        ? [{}, line(inks.within, 1.5), line(inks.within, 1.5), line(inks.truth, 1.75), line(inks.made, 2)]
        : [{}, hidden, hidden, hidden, hidden],
      bands: joined ? [{ series: [2, 1], fill: faded(inks.within, 0.45) }] : [],
      hooks: {
        init: [(plot) => { plot.opts_date = (t) => uPlot.tzDate(new Date(t * 1000), zone); }],
        draw: joined ? [] : [(plot) => drawApart(plot, inks)],
        setCursor: [(plot) => say(plot.cursor.idx)],
      },
    };
  }

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function draw(figure, position) {
    const place = figure.querySelector(".plot"), shown = read(figure), count = shown.cells.length;
    if (!count) return;
    place.hidden = false;
    const output = make("output"), slider = make("input", { type: "range", min: 0, max: count - 1, value: count - 1 });
    slider.setAttribute("aria-label", "Row of the chart");
    const spans = make("span", { className: "spans" });
    const reading = make("div", { className: "reading" }, slider, spans, output);
    const canvas = make("div");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${figure.querySelector("figcaption").textContent}; the table below has the numbers`);
    place.replaceChildren(canvas, reading);
    const keys = ["truth", "made"].map((key) => figure.querySelector(`.${key}`).textContent.trim());
    const whole = figure.dataset.whole === "1";
    let plot = null, first = whole ? 0 : Math.max(0, count - (place.clientWidth < 560 ? 40 : 120));

    const say = (i) => {
      if (i === null || i === undefined) return;
      const [time, ...cells] = [...shown.cells[i]].map((cell) => cell.textContent.trim());
      const [truth, made, low, high] = cells;
      const parts = [time, truth && `${keys[0]} ${truth}`, made && `${keys[1]} ${made}`, low && high && `${low} to ${high}`];
      output.textContent = parts.filter(Boolean).join(" · ");
      slider.value = i;
      slider.setAttribute("aria-valuetext", output.textContent);
    };
    const look = () => {
      const x = shown.columns[0];
      const edge = Math.max(1, (x[count - 1] - x[first]) * 0.006);
      plot.setScale("x", { min: x[first] - edge, max: x[count - 1] + edge });
    };
    const redraw = () => {
      const width = canvas.clientWidth;
      if (!width) return;
      if (plot) plot.destroy();
      plot = new uPlot(options(figure, colours(figure), width, say), shown.columns, canvas);
      look();
    };
    slider.addEventListener("input", () => {
      const i = Number(slider.value);
      if (i < first) { first = 0; mark(); look(); }
      plot.setCursor({ left: plot.valToPos(shown.columns[0][i], "x"), top: 10 });
      say(i);
    });
    const choices = [...new Set([40, 120, count])].filter((most) => most <= count && !whole);
    const buttons = choices.length < 2 ? [] : choices.map((most) => {
      const button = make("button", { type: "button", textContent: most === count ? `all ${count}` : `newest ${most}` });
      button.addEventListener("click", () => { first = count - most; mark(); look(); });
      return button;
    });
    const mark = () => buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(count - choices[i] === first)));
    spans.append(...buttons);
    mark();
    redraw();
    say(count - 1);
    let width = canvas.clientWidth;
    new ResizeObserver(() => { if (canvas.clientWidth !== width) { width = canvas.clientWidth; redraw(); } }).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => requestAnimationFrame(redraw));
  }

  function takeFiles(form) {
    const input = form.querySelector("input[type=file]"), rows = form.querySelector("textarea");
    const over = (is) => (event) => {
      if (!event.dataTransfer || ![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      form.classList.toggle("over-box", is);
    };
    form.addEventListener("dragover", over(true));
    form.addEventListener("dragleave", over(false));
    form.addEventListener("drop", (event) => {
      if (!event.dataTransfer || !event.dataTransfer.files.length) return;
      over(false)(event);
      input.files = event.dataTransfer.files;
      rows.value = "";
    });
    rows.addEventListener("input", () => { if (rows.value) input.value = ""; });
  }

  document.querySelectorAll(".chart").forEach(draw);
  document.querySelectorAll("form.box").forEach(takeFiles);
})();
