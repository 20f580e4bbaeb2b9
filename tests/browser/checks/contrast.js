// Texts whose contrast (WCAG 2) with what is behind them is below 4.5.
() => {
  const drawn = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    drawn.clearRect(0, 0, 1, 1);
    drawn.fillStyle = color;
    drawn.fillRect(0, 0, 1, 1);
    return [...drawn.getImageData(0, 0, 1, 1).data];
  };
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = (color) => {
    const [red, green, blue] = rgba(color).map((value) => linear(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      if (rgba(backgroundColor)[3] === 255) return backgroundColor;
    }
    return "white";
  };
  const contrast = (one) => {
    const [dark, light] = [getComputedStyle(one).color, behind(one)].map(luminance).sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const hasText = (one) => [...one.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.textContent.trim());
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && !one.disabled && hasText(one) && contrast(one) < 4.5)
    .map((one) => `${contrast(one).toFixed(2)} ${one.outerHTML.slice(0, 120)}`);
}
