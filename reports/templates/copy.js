"use strict";
// A button beside each command that copies it. Without script the command is there to be selected by hand.
for (const line of document.querySelectorAll(".command")) {
  const code = line.querySelector("code"), button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${code.textContent}`);
  const told = document.createElement("span");
  told.className = "quiet";
  told.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      told.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      told.textContent = "Selected; press Ctrl C";
    }
  });
  line.append(button, told);
}
