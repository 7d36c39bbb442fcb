// Script of an explorer. All figures come from counts stored at each stop of the threshold; nothing is fetched.
(() => {
  "use strict";

  const PAGE = 10; // stops that Page Up and Page Down move

  function explore(root, data) {
    const control = (name) => root.querySelector(`[data-control="${name}"]`);
    const place = (name) => root.querySelector(`[data-place="${name}"]`);
    const slider = control("slider");
    let chosen = data.choice; // for each axis of the table the index of its value
    let cell = null; // counts of the chosen set
    let stop = 0;
    let typed = null; // a threshold between the stops
    let counted = true; // whether the counts at the stop are those at the threshold
    let prevalence = data.prevalence; // null: the share in the test set
    let name = null; // the selected named threshold; it stays selected when another set is chosen, also one without it

    const phi = () => typed ?? cell.t[stop];

    // The name of the threshold; where several rules share it, the selected one.
    function active() {
      const at_stop = typed === null ? cell.named.filter(([, at]) => at === stop).map(([text]) => text) : [];
      return at_stop.includes(name) ? name : at_stop[0] ?? null;
    }

    function open() {
      cell = unpack(data.cells[chosen.join()]);
      draw("normal", cell.bars[0]);
      draw("abnormal", cell.bars[1]);
      draw("roc", cell.roc);
      show("normal", whole(cell.normal));
      show("abnormal", whole(cell.abnormal));
      show("area", cell.area[0]);
      show("area_note", cell.area[1]);
      show("auc", cell.auc);
      show("beyond", cell.beyond);
      place("ticks").replaceChildren(...cell.ticks.map(([at, text]) => {
        const tick = document.createElement("span");
        tick.style.left = `${100 * at}%`;
        tick.textContent = text;
        return tick;
      }));
      place("named").replaceChildren(...cell.named.map(([text, at]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text;
        button.addEventListener("click", () => go(at, null, true, text));
        return button;
      }));
    }

    function go(next, value = null, exact = true, selected = null) {
      stop = next;
      typed = value;
      counted = exact;
      name = selected ?? active();
      refresh();
    }

    function refresh() {
      const tp = cell.tp[stop], fp = cell.fp[stop], fn = cell.abnormal - tp, tn = cell.normal - fp;
      const rates = rate(tp, fp, tn, fn, prevalence);
      const at = place_of(phi());
      slider.value = at;
      slider.setAttribute("aria-valuetext", String(phi()));
      const number = control("threshold");
      if (number.value === "" || Number(number.value) !== phi()) number.value = phi();
      place("area").style.setProperty("--ccb-x", `${100 * at}%`);
      for (const [key, count] of Object.entries({ tp, fp, tn, fn })) show(key, whole(count));
      for (const [key, value] of Object.entries(rates)) show(key, Number.isNaN(value) ? "–" : value.toFixed(3));
      place("point").setAttribute("cx", cell.normal ? (200 * fp) / cell.normal : 0);
      place("point").setAttribute("cy", cell.abnormal ? 200 - (200 * tp) / cell.abnormal : 200);
      place("named").querySelectorAll("button").forEach((button, i) => {
        button.setAttribute("aria-pressed", cell.named[i][1] === stop && typed === null);
      });
      show_prevalence();
      show("counted", counted ? "" : `Counted at ${cell.t[stop]}, the nearest of ${cell.t.length} stored thresholds.`);
      const rule = active();
      show("rule", Object.hasOwn(data.rules, rule) ? data.rules[rule] : "");
      show("summary", summary(tp, fp));
    }

    function summary(tp, fp) {
      const found = cell.abnormal ? [`${whole(tp)} of ${whole(cell.abnormal)} abnormal ${data.unit} found`] : [];
      const alarms = cell.normal ? [`${whole(fp)} of ${whole(cell.normal)} normal ${data.unit} called abnormal`] : [];
      const counts = `${[...found, ...alarms].join(", ")}.`;
      if (!cell.abnormal || !cell.normal) return counts;
      let images = 100; // or another round number, which holds some of either kind
      while (images < 1e15 && images * Math.min(share(), 1 - share()) < 10) images *= 10;
      // Both kinds are rounded first and then divided, so that the four counts add up.
      const abnormal = Math.floor(images * share() + 0.5);
      const right = Math.floor(abnormal * (tp / cell.abnormal) + 0.5);
      const wrong = Math.floor((images - abnormal) * (fp / cell.normal) + 0.5);
      const said = [
        ["abnormal found", right, tp], ["missed", abnormal - right, cell.abnormal - tp],
        ["false alarms", wrong, fp], ["correctly called normal", images - abnormal - wrong, cell.normal - fp],
      ].map(([text, count, occurred]) => `${text} ${occurred && !count ? "fewer than 1" : whole(count)}`);
      return `${counts} Of ${whole(images)} ${data.unit} examined at a prevalence of ${percent(share())}: ${said.join(", ")}.`;
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
      refresh();
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

    // Take any threshold. Between two stops with equal counts these are the counts at the threshold;
    // elsewhere the scores say in which gap it lies, if the page has them.
    function type(value) {
      const at = cell.t.indexOf(value);
      if (at >= 0) return go(at);
      const gap = (t) => cell.cuts.filter((score) => score <= t).length;
      const wanted = gap(value);
      const same = cell.cuts.length ? cell.t.findIndex((t) => gap(t) === wanted) : -1;
      if (same >= 0) return go(same, value);
      const above = cell.t.findIndex((t) => t >= value);
      const [low, high] = above < 0 ? [cell.t.length - 1, cell.t.length - 1] : [Math.max(0, above - 1), above];
      const equal = cell.tp[low] === cell.tp[high] && cell.fp[low] === cell.fp[high];
      go(nearest(value, (t) => t), value, equal);
    }

    function slide(at) {
      // Stops beyond the axis share its ends; an end stands for the outermost stop.
      return at >= 1 ? cell.t.length - 1 : at <= 0 ? 0 : nearest(at, place_of);
    }

    function move(next) {
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
      const before = place_of(phi());
      const next = slide(Number(slider.value));
      // A screen reader's step may be smaller than the distance to the next stop; move one stop then.
      move(next === stop && !dragged ? stop + Math.sign(Number(slider.value) - before) : next);
    });
    control("threshold").addEventListener("change", (event) => {
      if (event.target.reportValidity()) type(Number(event.target.value));
    });

    const area = place("area");
    const point = (event) => {
      const box = area.getBoundingClientRect();
      move(slide((event.clientX - box.left) / box.width));
    };
    area.addEventListener("pointerdown", (event) => { area.setPointerCapture(event.pointerId); point(event); });
    area.addEventListener("pointermove", (event) => { if (area.hasPointerCapture(event.pointerId)) point(event); });

    // ── which set ──

    const keys = Object.keys(data.cells).map((key) => key.split(",").map(Number));

    // The values of an axis for which there are sets, given those of the axes before it.
    function available(axis) {
      const fit = keys.filter((key) => chosen.slice(0, axis).every((at, i) => key[i] === at));
      return [...new Set(fit.map((key) => key[axis]))].sort((a, b) => a - b);
    }

    function choose(axis, value) {
      chosen[axis] = value;
      for (let later = axis + 1; later < chosen.length; later++) {
        if (!available(later).includes(chosen[later])) chosen[later] = available(later)[0];
      }
      const before = { tp: cell.tp[stop], fp: cell.fp[stop], normal: cell.normal };
      open();
      fit_choosers();
      const kept = cell.named.find(([text]) => text === name);
      go(kept ? kept[1] : same_alarms(before), null, true, name);
    }

    // Scores of two detectors cannot be compared, so what is kept is the false-alarm rate, as near as
    // the stops allow; see `Steps.same_alarms`.
    function same_alarms(before) {
      if (!(before.tp + before.fp)) return cell.t.length - 1;
      if (!cell.normal || !before.normal) return cell.start;
      const away = cell.fp.map((fp) => Math.abs(fp / cell.normal - before.fp / before.normal));
      return away.indexOf(Math.min(...away));
    }

    function fit_choosers() {
      for (const chooser of root.querySelectorAll("[data-axis]")) {
        const axis = Number(chooser.dataset.axis), values = available(axis);
        const names = values.map((at) => data.axes[axis].values[at]), at = values.indexOf(chosen[axis]);
        if (chooser.type === "range") {
          chooser.max = values.length - 1;
          chooser.parentElement.querySelector("output").textContent = names[at];
          chooser.setAttribute("aria-valuetext", names[at]);
        } else {
          chooser.replaceChildren(...names.map((text, i) => new Option(text, i)));
        }
        chooser.value = at;
      }
    }

    for (const chooser of root.querySelectorAll("[data-axis]")) {
      const axis = Number(chooser.dataset.axis);
      chooser.addEventListener("input", () => choose(axis, available(axis)[Number(chooser.value)]));
    }

    // ── writing ──

    function show(key, text) {
      for (const node of root.querySelectorAll(`[data-show="${key}"]`)) if (node.textContent !== text) node.textContent = text;
    }

    function draw(key, path) {
      for (const node of root.querySelectorAll(`[data-path="${key}"]`)) node.setAttribute("d", path);
    }

    open();
    fit_choosers();
    for (const part of ["slide", "threshold", "prevalence"]) place(part).hidden = false;
    place("choices").hidden = !data.axes.length;
    go(cell.start);
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
      npv: ratio(tn, tn + fn),
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
