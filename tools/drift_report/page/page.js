/* Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
   Language, times in the reader's zone, and the charts. All else on the page stands in the HTML and needs no script. */
"use strict";
(function () {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const charts = [];
  let language = "en";

  // ---- language and time ----

  function kept() {
    try { return localStorage.getItem("sokuhai-language"); } catch (problem) { return null; }
  }

  const locale = () => (language === "ja" ? "ja-JP" : undefined);
  const english = () => (language === "ja" ? "ja-JP" : (navigator.languages || []).find((one) => /^en\b/.test(one)) || "en-GB");

  function when(seconds, options) {
    return new Intl.DateTimeFormat(english(), options || { dateStyle: "medium", timeStyle: "short" }).format(new Date(1000 * seconds));
  }

  function speak(wanted) {
    language = wanted;
    root.lang = wanted;
    document.title = data.words.title[wanted === "ja" ? 1 : 0];
    for (const button of all("[data-language]")) button.setAttribute("aria-pressed", String(button.dataset.language === wanted));
    for (const one of all("[data-en]")) one.setAttribute("aria-label", one.dataset[wanted]);
    for (const time of all("time[data-at]")) {
      time.textContent = when(Number(time.dataset.at));
      time.title = time.getAttribute("datetime");
    }
    for (const chart of charts) if (chart.plot) chart.plot.redraw(false, true);
  }

  // ---- numbers ----

  function number(value) {
    if (value === null || value === undefined) return "–";
    return new Intl.NumberFormat(locale(), { maximumSignificantDigits: Math.abs(value) < 100 ? 3 : 15, maximumFractionDigits: 2 }).format(value);
  }

  function share(value) {
    return value === null || value === undefined ? "–" : (value < 10 ? value.toFixed(1) : String(Math.floor(value))) + " %";
  }

  // ---- charts ----

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // Hours and minutes, and the date where a new day begins.
  function ticks(plot, splits, axis, space, step) {
    let day = "";
    return splits.map((at) => {
      if (at === null) return null;
      const date = when(at, { month: "numeric", day: "numeric" });
      const text = step >= 86400 ? date : when(at, step < 60 ? { hour: "2-digit", minute: "2-digit", second: "2-digit" } : { hour: "2-digit", minute: "2-digit" });
      const full = step < 86400 && date !== day ? text + "\n" + date : text;
      day = date;
      return full;
    });
  }

  // The ceiling, and the share of it above which it is near: drawn in, with their names.
  function ceiling(chart) {
    return (plot) => {
      if (chart.unit !== "share") return;
      const { ctx, bbox } = plot;
      const lines = [[100, colour("--bad"), [], data.words.ceiling[language === "ja" ? 1 : 0]], [data.near, colour("--warn"), [6, 6], data.near + " %"]];
      ctx.save();
      ctx.font = plot.axes[0].font[0];
      ctx.textAlign = "right";
      for (const [value, stroke, dash, name] of lines) {
        if (value > plot.scales.y.max) continue;
        const y = Math.round(plot.valToPos(value, "y", true));
        ctx.strokeStyle = ctx.fillStyle = stroke;
        ctx.lineWidth = 2 * devicePixelRatio;
        ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
        ctx.textBaseline = "top";
        ctx.fillText(name, bbox.left + bbox.width - 4 * devicePixelRatio, y + 3 * devicePixelRatio);
      }
      ctx.restore();
    };
  }

  // What stands at the cursor goes into the legend's last column.
  function told(chart) {
    return (plot) => {
      const index = plot.cursor.idx;
      const known = index !== null && index !== undefined;
      chart.when.textContent = known ? when(plot.data[0][index]) : "";
      chart.lines.forEach((line, position) => {
        const value = known ? plot.data[position + 1][index] : null;
        let text = chart.unit === "share" ? share(value) : number(value);
        if (chart.unit === "share" && value !== null) text += " (" + number(line.used[index]) + ")";
        line.cell.textContent = known ? text : "–";
      });
    };
  }

  // One window of time for all charts of a host, whichever was zoomed.
  function together(chart) {
    return (plot, key) => {
      if (key !== "x" || chart.host.moving) return;
      chart.host.moving = true;
      chart.host.range = [plot.scales.x.min, plot.scales.x.max];
      for (const other of chart.host.charts) {
        if (other !== chart && other.plot) other.plot.setScale("x", { min: chart.host.range[0], max: chart.host.range[1] });
      }
      chart.host.moving = false;
    };
  }

  function draw(chart, width) {
    const hiddenOnes = new Set(chart.lines.filter((line) => line.button.getAttribute("aria-pressed") === "false"));
    if (chart.plot) chart.plot.destroy();
    const [text, grid] = [colour("--muted"), colour("--grid")];
    const font = "12px " + getComputedStyle(document.body).fontFamily;
    const axis = { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    const top = (plot, low, high) => {
      if (chart.unit === "share" && !chart.zoomed) return [0, 105];
      return [0, high > 0 ? high * 1.08 : 1];
    };
    const options = {
      width: width || chart.place.clientWidth, height: 200, legend: { show: false }, padding: [10, 12, 0, 0],
      cursor: { sync: { key: chart.host.key }, drag: { x: true, y: false, dist: 6 }, y: false },
      scales: { x: { time: true }, y: { range: top } },
      axes: [{ ...axis, space: 64, size: 42, values: ticks },
        { ...axis, size: 58, values: (plot, splits) => splits.map((one) => (one === null ? null : chart.unit === "share" ? one + " %" : number(one))) }],
      series: [{}, ...chart.lines.map((line) => ({
        label: line.name, stroke: colour("--s" + line.position), width: 2, dash: data.dashes[line.position], show: !hiddenOnes.has(line), spanGaps: false,
        points: { size: 5, fill: colour("--s" + line.position) },
      }))],
      hooks: { draw: [ceiling(chart)], setCursor: [told(chart)], setScale: [together(chart)] },
    };
    chart.plot = new uPlot(options, [chart.host.time, ...chart.lines.map((line) => line.values)], chart.place);
    if (chart.host.range) {
      chart.host.moving = true;
      chart.plot.setScale("x", { min: chart.host.range[0], max: chart.host.range[1] });
      chart.host.moving = false;
    }
    chart.place.dataset.drawn = "true";
  }

  function redraw(width) {
    for (const chart of charts) if (chart.plot) draw(chart, width);
  }

  // Left and right, Home and End: what the mouse's cursor does, for the keyboard; the values are read aloud.
  function keys(chart) {
    return (event) => {
      const plot = chart.plot;
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity };
      if (!plot || !(event.key in steps)) return;
      event.preventDefault();
      const times = plot.data[0];
      const inside = times.map((at, index) => index).filter((index) => times[index] >= plot.scales.x.min && times[index] <= plot.scales.x.max);
      if (!inside.length) return;
      const [first, last] = [inside[0], inside[inside.length - 1]];
      const from = plot.cursor.idx === null || plot.cursor.idx === undefined ? (event.key === "ArrowLeft" ? last + 1 : first - 1) : plot.cursor.idx;
      const index = Math.min(last, Math.max(first, from + steps[event.key]));
      plot.setCursor({ left: plot.valToPos(times[index], "x"), top: 10 });
      chart.aloud.textContent = when(times[index]) + ": " + chart.lines.filter((line) => line.button.getAttribute("aria-pressed") === "true")
        .map((line) => line.button.innerText.trim() + " " + line.cell.textContent).join(", ");
    };
  }

  function prepare(section) {
    const series = data.hosts[Number(section.dataset.host)];
    const host = { key: "host" + section.dataset.host, time: series.time, charts: [], range: null, moving: false };
    for (const place of all("[data-chart]", section)) {
      const figure = place.closest("figure");
      const name = place.dataset.chart;
      const { unit, series: names } = data.charts[name];
      const chart = { name, unit, place, host, plot: null, zoomed: false, when: figure.querySelector(".when"), aloud: figure.querySelector(".aloud"), lines: [] };
      names.forEach((line, position) => {
        const values = series[name][line];
        if (!values) return;
        chart.lines.push({
          name: line, position, values: unit === "share" ? values.share : values, used: values.used,
          button: figure.querySelector(`[data-series="${position + 1}"]`), cell: figure.querySelector(`[data-cursor="${position + 1}"]`),
        });
      });
      chart.lines.forEach((line, index) => line.button.addEventListener("click", () => {
        const shown = line.button.getAttribute("aria-pressed") === "false";
        line.button.setAttribute("aria-pressed", String(shown));
        if (chart.plot) chart.plot.setSeries(index + 1, { show: shown });
      }));
      const zoom = figure.querySelector(".zoom");
      if (zoom) {
        zoom.addEventListener("click", () => {
          chart.zoomed = !chart.zoomed;
          zoom.setAttribute("aria-pressed", String(chart.zoomed));
          if (chart.plot) draw(chart);
        });
      }
      place.addEventListener("keydown", keys(chart));
      host.charts.push(chart);
      charts.push(chart);
    }
    for (const button of all("[data-span]", section)) {
      button.addEventListener("click", () => {
        const [first, last] = [host.time[0], host.time[host.time.length - 1]];
        host.range = [Number(button.dataset.span) ? Math.max(first, last - Number(button.dataset.span)) : first, last];
        for (const other of all("[data-span]", section)) other.setAttribute("aria-pressed", String(other === button));
        host.moving = true;
        for (const chart of host.charts) if (chart.plot) chart.plot.setScale("x", { min: host.range[0], max: host.range[1] });
        host.moving = false;
      });
    }
  }

  // ---- what the page does by itself ----

  const chartOf = (place) => charts.find((chart) => chart.place === place);

  // A chart is drawn when it comes near the screen: sixty at once would take a while to open.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const chart = chartOf(entry.target);
      if (entry.isIntersecting && !chart.plot && chart.place.clientWidth) draw(chart);
    }
  }, { rootMargin: "400px" });
  const sized = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const chart = chartOf(entry.target);
      const width = Math.floor(entry.contentRect.width);
      if (chart.plot && width && width !== chart.plot.width && !root.classList.contains("paper")) chart.plot.setSize({ width, height: 200 });
    }
  });

  function unfold() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView();
      target.querySelector("summary").focus({ preventScroll: true });
    }
  }

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details.host:not([open]), .wrong details:not([open]), .mailing:not([open]), .links:not([open])");
    for (const one of folded) one.open = true;
    root.classList.add("paper");
    for (const chart of charts) draw(chart, 340);
  });
  addEventListener("afterprint", () => {
    root.classList.remove("paper");
    redraw();
    for (const one of folded) one.open = false;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  addEventListener("hashchange", unfold);
  for (const button of all("[data-language]")) {
    button.addEventListener("click", () => {
      speak(button.dataset.language);
      try { localStorage.setItem("sokuhai-language", language); } catch (problem) { /* a page from a file may have no storage */ }
    });
  }
  for (const section of all("[data-host]")) prepare(section);
  if (matchMedia("(max-width: 44rem)").matches) for (const one of all(".links")) one.open = false;
  const wish = kept() || (navigator.languages || [navigator.language]).map((one) => String(one).slice(0, 2)).find((one) => one === "en" || one === "ja");
  speak(wish === "ja" ? "ja" : "en");
  for (const chart of charts) { seen.observe(chart.place); sized.observe(chart.place); }
  unfold();
  root.dataset.ready = "true";
})();
