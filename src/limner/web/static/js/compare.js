// Two pictures laid over each other; a slider says how much of the first is seen. Dragging on the picture moves it too.

const box = document.querySelector("[data-compare-two]");
const slider = document.getElementById("compare-at");
const output = document.querySelector("output[for=compare-at]");

function show() {
  box.style.setProperty("--at", `${slider.value}%`);
  output.textContent = `${slider.value} %`;
  slider.setAttribute("aria-valuetext", `${slider.value} %`);
}

function drag(event) {
  const { left, width } = box.getBoundingClientRect();
  slider.value = String(Math.round(((event.clientX - left) / width) * 100));
  show();
}

if (box && slider) {
  box.dataset.over = "";
  slider.addEventListener("input", show);
  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    box.setPointerCapture(event.pointerId);
    drag(event);
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) drag(event);
  });
  show();
}
