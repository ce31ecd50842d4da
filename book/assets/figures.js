// Figures: sliders of those that move, and a click or a button to see one as large as the window. Without scripts a page
// shows every figure, and the stills of those that move. The frame is what scrolls on a phone.
for (const figure of document.querySelectorAll("figure.snn-figure")) {
  const images = [...figure.querySelectorAll("img")];
  const frame = Object.assign(document.createElement("div"), { className: "snn-frame" });
  frame.append(...images);
  figure.prepend(frame);

  const controls = figure.querySelector(".snn-controls");
  if (controls) {
    const sliders = [...controls.querySelectorAll("input")];
    const show = () => {
      const address = [controls.dataset.frames, ...sliders.map((slider) => slider.value)].join(".");
      for (const image of images) image.src = `${address}.${image.matches(".snn-dark") ? "dark.svg" : "svg"}`;
    };
    for (const slider of sliders) {
      const names = JSON.parse(slider.dataset.names);
      const tell = () => {
        slider.ariaValueText = slider.nextElementSibling.textContent = names[slider.value];
      };
      slider.addEventListener("input", () => {
        tell();
        show();
      });
      tell();
    }
    controls.hidden = false;
  }

  const enlarge = () => {
    const dialog = Object.assign(document.createElement("dialog"), { className: "snn-enlarged" });
    dialog.ariaLabel = "Figure, enlarged";
    const seen = images.find((image) => image.checkVisibility());
    dialog.style.setProperty("--shape", seen.naturalWidth / seen.naturalHeight);
    const close = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
    dialog.append(close, ...images.map((image) => image.cloneNode()));
    dialog.addEventListener("click", () => dialog.close()); // Escape does so by itself
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };
  for (const image of images) image.addEventListener("click", enlarge);
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "enlarge" });
  button.className = "snn-enlarge";
  button.addEventListener("click", enlarge);
  figure.querySelector("figcaption").append(" ", button);
}
