// Controls that somebody cannot use: without a name for screen readers, or smaller than 24 pixels.
() => [...document.querySelectorAll("button, input, select, textarea, a[href]")]
  .filter((one) => one.checkVisibility() && one.closest("[aria-hidden=true]") === null)
  .filter((one) => {
    const box = one.getBoundingClientRect();
    const labels = [...(one.labels ?? [])].some((label) => label.textContent.trim());
    const named = one.textContent.trim() || one.ariaLabel || one.title || labels;
    return !named || (one.tagName !== "A" && (box.width < 24 || box.height < 24));
  })
  .map((one) => one.outerHTML.slice(0, 120))
