"use strict";
// Two pictures of one sample in one frame: left of the cut the reference, right of it the candidate. Without script they
// stand side by side. The slider is the browser's own, so keys move it too.
for (const frame of document.querySelectorAll(".cut")) {
  const slider = document.createElement("input");
  slider.type = "range";
  slider.setAttribute("aria-label", `Cut between reference and candidate, ${frame.getAttribute("aria-label")}`);
  const move = () => {
    frame.style.setProperty("--cut", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `reference ${slider.value} %, candidate ${100 - slider.value} %`);
  };
  slider.addEventListener("input", move);
  frame.querySelector(".two").after(slider);
  frame.classList.add("sliding");
  move();
}
