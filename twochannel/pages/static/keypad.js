// Keys for an amount: digits come in from the right, as at a till. Without this script the amount is
// typed into the field all the same.
"use strict";
(() => {
  const LONGEST = 13;
  const language = document.documentElement.lang;
  const field = () => document.getElementById("amount");

  function decimals() {
    const chosen = document.querySelector("#currency option:checked");
    return Number((chosen || field()).dataset.decimals);
  }

  function written(digits) {
    if (!Number(digits)) return "";
    const places = decimals();
    const padded = digits.replace(/^0+/, "").padStart(places + 1, "0");
    const whole = padded.slice(0, padded.length - places);
    const grouped = new Intl.NumberFormat(language).format(BigInt(whole));
    return places ? `${grouped}.${padded.slice(-places)}` : grouped;
  }

  function press(key) {
    const digits = field().value.replace(/\D/g, "");
    const next = key === "back" ? digits.slice(0, -1) : digits + key;
    if (next.length <= LONGEST) field().value = written(next);
  }

  function ready() {
    for (const keys of document.querySelectorAll(".keys[hidden]")) {
      keys.hidden = false;
      // The keys are on the page; the screen's own would cover them.
      field().inputMode = "none";
    }
  }

  document.addEventListener("click", (event) => {
    const key = event.target.closest("[data-key]");
    if (key) press(key.dataset.key);
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "currency") return;
    field().placeholder = written("0") || "0" + (decimals() ? "." + "0".repeat(decimals()) : "");
    field().value = "";
  });
  new MutationObserver(ready).observe(document.body, { childList: true, subtree: true });
  ready();
})();
