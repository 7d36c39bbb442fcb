// Script of an explorer. All figures come from counts stored at each stop of the threshold; nothing is fetched.
(() => {
  "use strict";

  const PAGE = 10; // stops that Page Up and Page Down move

  function explore(root, data) {
    const control = (name) => root.querySelector(`[data-control="${name}"]`);
    const place = (name) => root.querySelector(`[data-place="${name}"]`);
    const slider = control("slider");
    let chosen = data.choice; // for each axis of the table the index of its value
    let cell = null; // counts of the chosen set; null if it was not run
    let stop = 0;
    let prevalence = data.prevalence; // null: the share in the test set
    let name = null; // the selected named threshold; it stays selected when another set is chosen

    function open() {
      const stored = data.cells[chosen.join()];
      cell = stored ? unpack(stored) : null;
      for (const part of ["slide", "threshold", "prevalence"]) place(part).hidden = !cell;
      draw("normal", cell ? cell.bars[0] : "");
      draw("abnormal", cell ? cell.bars[1] : "");
      draw("roc", cell ? cell.roc : "");
      show("normal", cell ? whole(cell.normal) : "–");
      show("abnormal", cell ? whole(cell.abnormal) : "–");
      show("auc", cell ? cell.auc : "–");
      show("beyond", cell ? cell.beyond : "");
      place("ticks").replaceChildren(...(cell ? cell.ticks : []).map(([at, text]) => {
        const tick = document.createElement("span");
        tick.style.left = `${100 * at}%`;
        tick.textContent = text;
        return tick;
      }));
      place("named").replaceChildren(...(cell ? cell.named : []).map(([text, at]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text;
        button.addEventListener("click", () => { name = text; go(at); });
        return button;
      }));
    }

    function go(next) {
      stop = next;
      if (!cell) return blank();
      const tp = cell.tp[stop], fp = cell.fp[stop], fn = cell.abnormal - tp, tn = cell.normal - fp;
      const rates = rate(tp, fp, tn, fn, prevalence);
      const at = place_of(cell.t[stop]);
      slider.value = at;
      slider.setAttribute("aria-valuetext", String(cell.t[stop]));
      control("threshold").value = cell.t[stop];
      place("area").style.setProperty("--ccb-x", `${100 * at}%`);
      for (const [key, count] of Object.entries({ tp, fp, tn, fn })) show(key, whole(count));
      for (const [key, value] of Object.entries(rates)) show(key, Number.isNaN(value) ? "–" : value.toFixed(3));
      place("point").setAttribute("cx", cell.normal ? (200 * fp) / cell.normal : 0);
      place("point").setAttribute("cy", cell.abnormal ? 200 - (200 * tp) / cell.abnormal : 200);
      place("named").querySelectorAll("button").forEach((button, i) => {
        button.setAttribute("aria-pressed", cell.named[i][1] === stop);
      });
      show_prevalence();
      show("summary", summary(tp, fp, rates.precision));
    }

    function blank() {
      for (const key of ["tp", "fp", "tn", "fn", "recall", "specificity", "precision", "accuracy", "f1", "prevalence"]) {
        show(key, "–");
      }
      show("summary", `Not run: no scores for ${chosen.map((at, i) => data.axes[i].values[at]).join(", ")}.`);
    }

    function summary(tp, fp, precision) {
      const found = cell.abnormal ? [`${whole(tp)} of ${whole(cell.abnormal)} abnormal images found`] : [];
      const alarms = cell.normal ? [`${whole(fp)} of ${whole(cell.normal)} normal images called abnormal`] : [];
      const right = Number.isNaN(precision)
        ? "No alarms."
        : `At a prevalence of ${percent(share())}, ${Math.floor(100 * precision + 0.5)} of 100 alarms are right.`;
      return `${[...found, ...alarms].join(", ")}. ${right}`;
    }

    // ── prevalence ──

    const tested = () => cell.abnormal / (cell.abnormal + cell.normal);
    const share = () => prevalence ?? tested();
    const choices = () => [...new Set([...data.prevalences, tested()])].sort((a, b) => a - b);

    function show_prevalence() {
      const shares = choices();
      const range = control("prevalence");
      range.max = shares.length - 1;
      range.value = shares.findIndex((value) => value >= share() || value === shares.at(-1));
      range.setAttribute("aria-valuetext", percent(share()) + (prevalence === null ? ", as in this test set" : ""));
      control("percent").value = parseFloat(percent(share()));
      control("as-tested").setAttribute("aria-pressed", prevalence === null);
      show("prevalence", percent(share()) + (prevalence === null ? ", as tested" : ""));
      for (const part of ["prevalence", "percent", "as-tested"]) control(part).disabled = !cell.abnormal || !cell.normal;
    }

    function set_prevalence(value) {
      prevalence = value === tested() ? null : value;
      go(stop);
    }

    control("prevalence").addEventListener("input", (event) => set_prevalence(choices()[Number(event.target.value)]));
    control("as-tested").addEventListener("click", () => set_prevalence(tested()));
    control("percent").addEventListener("change", (event) => {
      if (event.target.reportValidity()) set_prevalence(Number(event.target.value) / 100);
    });

    // ── threshold ──

    const place_of = (t) => Math.min(1, Math.max(0, (t - cell.axis[0]) / (cell.axis[1] - cell.axis[0])));

    function nearest(at, to) {
      let best = 0;
      for (let i = 1; i < cell.t.length; i++) if (Math.abs(to(cell.t[i]) - at) < Math.abs(to(cell.t[best]) - at)) best = i;
      return best;
    }

    function slide(at) {
      // Stops beyond the axis share its ends; an end stands for the outermost stop.
      return at >= 1 ? cell.t.length - 1 : at <= 0 ? 0 : nearest(at, place_of);
    }

    function move(next) {
      name = null;
      go(Math.min(cell.t.length - 1, Math.max(0, next)));
    }

    slider.addEventListener("keydown", (event) => {
      const steps = {
        ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1,
        PageDown: -PAGE, PageUp: PAGE, Home: -Infinity, End: Infinity,
      }[event.key];
      if (steps === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      move(stop + steps);
    });
    let dragged = false;
    slider.addEventListener("pointerdown", () => { dragged = true; });
    for (const end of ["pointerup", "pointercancel", "change"]) slider.addEventListener(end, () => { dragged = false; });
    slider.addEventListener("input", () => {
      const before = place_of(cell.t[stop]);
      const next = slide(Number(slider.value));
      // A screen reader's step may be smaller than the distance to the next stop; move one stop then.
      move(next === stop && !dragged ? stop + Math.sign(Number(slider.value) - before) : next);
    });
    control("threshold").addEventListener("change", (event) => {
      if (event.target.reportValidity()) move(nearest(Number(event.target.value), (t) => t));
    });

    const area = place("area");
    const point = (event) => {
      if (!cell) return;
      const box = area.getBoundingClientRect();
      move(slide((event.clientX - box.left) / box.width));
    };
    area.addEventListener("pointerdown", (event) => { area.setPointerCapture(event.pointerId); point(event); });
    area.addEventListener("pointermove", (event) => { if (area.hasPointerCapture(event.pointerId)) point(event); });

    // ── which set ──

    for (const select of root.querySelectorAll("[data-axis]")) {
      const axis = Number(select.dataset.axis);
      select.value = chosen[axis];
      select.addEventListener("input", () => {
        chosen = chosen.map((at, i) => (i === axis ? Number(select.value) : at));
        label(select, axis);
        const before = cell && cell.t[stop];
        open();
        const kept = cell && cell.named.find(([text]) => text === name);
        go(kept ? kept[1] : cell && before !== null ? nearest(before, (t) => t) : cell ? cell.start : 0);
      });
      label(select, axis);
    }

    function label(select, axis) {
      const text = data.axes[axis].values[chosen[axis]];
      if (select.type === "range") {
        select.parentElement.querySelector("output").textContent = text;
        select.setAttribute("aria-valuetext", text);
      }
    }

    // ── writing ──

    function show(key, text) {
      for (const node of root.querySelectorAll(`[data-show="${key}"]`)) if (node.textContent !== text) node.textContent = text;
    }

    function draw(key, path) {
      for (const node of root.querySelectorAll(`[data-path="${key}"]`)) node.setAttribute("d", path);
    }

    open();
    place("choices").hidden = !data.axes.length;
    if (cell) name = (cell.named.find(([, at]) => at === cell.start) ?? [null])[0];
    go(cell ? cell.start : 0);
  }

  function unpack(cell) {
    const counts = (decrements) => {
      let left = 0;
      return decrements.map((step, i) => (left = i ? left - step : step));
    };
    const tp = counts(cell.tp), fp = counts(cell.fp);
    return { ...cell, tp, fp, abnormal: tp[0], normal: fp[0] };
  }

  function rate(tp, fp, tn, fn, prevalence) {
    const ratio = (part, all) => (all > 0 ? part / all : NaN);
    const recall = ratio(tp, tp + fn), specificity = ratio(tn, tn + fp);
    if (prevalence !== null) {
      tp = prevalence * recall;
      fn = prevalence * (1 - recall);
      tn = (1 - prevalence) * specificity;
      fp = (1 - prevalence) * (1 - specificity);
    }
    return {
      recall, specificity, precision: ratio(tp, tp + fp),
      accuracy: ratio(tp + tn, tp + fp + tn + fn), f1: ratio(2 * tp, 2 * tp + fp + fn),
    };
  }

  const whole = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");
  const percent = (share) => `${Number((100 * share).toPrecision(3))}\u00a0%`; // the number and its unit stay on one line

  for (const root of document.querySelectorAll("figure.ccb-explorer:not([data-ready])")) {
    const source = root.querySelector('script[type="application/json"]');
    if (source) {
      root.dataset.ready = "";
      explore(root, JSON.parse(source.textContent));
    }
  }
})();
