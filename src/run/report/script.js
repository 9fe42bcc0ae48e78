"use strict";
/* Adds to each case what needs a hand: a slider over its results, and two pictures to
 * compare. Without scripts the page shows all pictures one beside the other. */
(() => {
  const make = (tag, settings = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), settings);
    element.append(...children);
    return element;
  };
  const pictures = (root) => [...root.querySelectorAll(".picture")]
    .filter((figure) => figure.querySelector("img"))
    .map((figure) => ({
      label: figure.dataset.label,
      layer: figure.closest("[data-layer]")?.dataset.layer,
      epoch: figure.dataset.epoch,
      image: figure.querySelector("img"),
    }));
  const show = (image, picture) => {
    image.src = picture.image.src;
    image.alt = picture.image.alt;
    image.width = picture.image.width;
    image.height = picture.image.height;
  };

  /* The upright line in the charts of a case, at an epoch. */
  const mark = (root, epoch) => {
    for (const svg of root.querySelectorAll(".chart svg")) {
      const now = svg.querySelector(".now");
      const {left, right, low, high} = svg.dataset;
      const part = Math.min(1, (epoch - low) / (high - low));
      const x = Number(left) + part * (right - left);
      now.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
      now.setAttribute("visibility", epoch === undefined ? "hidden" : "visible");
    }
  };

  const addViewer = (root, number) => {
    const rows = [...root.querySelectorAll(".strip[data-row]")]
      .map((strip) => ({name: strip.dataset.row, list: pictures(strip)}))
      .filter((row) => row.list.length > 0);
    const stage = root.querySelector(".stage");
    if (!stage || !rows.some((row) => row.list.length > 1)) return;
    let row = rows[0];
    const image = make("img");
    const value = make("output");
    const range = make("input", {type: "range", min: 0, step: 1});
    const update = () => {
      const picture = row.list[range.value];
      show(image, picture);
      value.textContent = picture.label;
      range.setAttribute("aria-valuetext", picture.label);
      mark(root, picture.epoch);
    };
    const choose = (index) => {
      row = rows[index];
      range.max = row.list.length - 1;
      update();
    };
    const label = make("label", {}, value, range);
    range.setAttribute("aria-label", stage.dataset.slider);
    const viewer = make("div", {className: "viewer"}, image, label);
    if (rows.length > 1) {
      const layers = make("fieldset", {}, make("legend", {textContent: "layer"}));
      rows.forEach((each, index) => {
        const radio = make("input", {
          type: "radio", name: `row-${number}`, checked: index === 0,
          onchange: () => choose(index),
        });
        layers.append(make("label", {}, radio, " ", each.name));
      });
      viewer.append(layers);
    }
    range.max = row.list.length - 1;
    range.value = stage.dataset.start === "end" ? range.max : Math.floor(range.max / 2);
    range.addEventListener("input", update);
    update();
    stage.insertBefore(viewer, stage.querySelector(".after"));
  };

  const addCompare = (root) => {
    const list = pictures(root);
    if (list.length < 2) return;
    const images = [make("img"), make("img")];
    const edge = make("div", {className: "edge"});
    const swipe = make("div", {className: "swipe"}, ...images, edge);
    const range = make("input", {type: "range", min: 0, max: 100, value: 50});
    const move = () => {
      images[1].style.clipPath = `inset(0 0 0 ${range.value}%)`;
      edge.style.left = `${range.value}%`;
    };
    range.setAttribute("aria-label", "how much of the left picture is shown");
    range.addEventListener("input", move);
    const drag = (event) => {
      if (event.buttons !== 1) return;
      const box = swipe.getBoundingClientRect();
      range.value = 100 * (event.clientX - box.left) / box.width;
      move();
    };
    swipe.addEventListener("pointerdown", drag);
    swipe.addEventListener("pointermove", drag);
    images.forEach((image) => { image.draggable = false; });
    const choice = ["left", "right"].map((side, index) => {
      const select = make("select");
      list.forEach((picture, place) =>
        select.append(make("option", {value: place, textContent: picture.layer
          ? `${picture.layer}, ${picture.label}` : picture.label})));
      select.value = index === 0 ? 0 : list.length - 1;
      const update = () => show(images[index], list[select.value]);
      select.addEventListener("change", update);
      update();
      return make("label", {}, `${side} `, select);
    });
    move();
    root.append(make("details", {className: "compare"},
      make("summary", {textContent: "Compare two pictures"}),
      make("div", {className: "choice"}, ...choice), swipe, range));
  };

  const addCopy = (pre) => {
    const button = make("button", {type: "button", textContent: "Copy"});
    button.addEventListener("click", () => {
      getSelection().selectAllChildren(pre);
      const done = document.execCommand("copy");
      button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
    });
    pre.after(button);
  };

  document.querySelectorAll(".case").forEach((root, number) => {
    addViewer(root, number);
    addCompare(root);
  });
  document.querySelectorAll("pre.command").forEach(addCopy);
})();
