// The look that was chosen, before anything is drawn: no flash of the other one. Not a module, so that it is not late.

try {
  const look = localStorage.getItem("anmok.look");
  if (look === "light" || look === "dark") document.documentElement.dataset.look = look;
} catch {}
