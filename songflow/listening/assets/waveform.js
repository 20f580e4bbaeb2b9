// The waveform: drawn from the ledger's measures, or from the file, which the browser then decodes itself.
import { clock } from "./controls.js";
import { element } from "./dom.js";

const BARS = 240;
// Nothing is heard of it: a low rate spares memory.
const DECODED_HZ = 8000;
const STEP_SECONDS = 5;

// Peaks, 0..1, of a base64 text with one byte for each.
export const storedPeaks = (text) => Array.from(atob(text), (byte) => byte.charCodeAt(0) / 255);

export const decodedPeaks = async (url, signal) => {
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(answer.statusText);
  const heard = await new OfflineAudioContext(1, 1, DECODED_HZ).decodeAudioData(await answer.arrayBuffer());
  const samples = heard.getChannelData(0);
  return Array.from({ length: BARS }, (_, bar) => {
    const end = Math.floor(((bar + 1) * samples.length) / BARS);
    let peak = 0;
    for (let at = Math.floor((bar * samples.length) / BARS); at < end; at += 1) peak = Math.max(peak, Math.abs(samples[at]));
    return Math.min(1, peak);
  });
};

// A slider with the waveform in it; `seek` is called with a second.
export const createWaveform = (seek) => {
  const canvas = element("canvas", { aria: { hidden: true } });
  const slider = element("div", { className: "waveform", tabIndex: 0, role: "slider", aria: { label: "Position", valuemin: 0 } }, canvas);
  let peaks = [];
  let [at, length] = [0, 0];

  const draw = () => {
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0) return;
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const colors = getComputedStyle(slider);
    const drawn = canvas.getContext("2d");
    drawn.scale(scale, scale);
    const bars = peaks.length > 0 ? Math.min(peaks.length, Math.floor(width / 3)) : Math.floor(width / 3);
    const played = length > 0 ? (at / length) * width : 0;
    for (let bar = 0; bar < bars; bar += 1) {
      const from = Math.floor((bar * peaks.length) / bars);
      const part = peaks.slice(from, Math.max(from + 1, Math.floor(((bar + 1) * peaks.length) / bars)));
      const tall = Math.max(2, (part.length > 0 ? Math.max(...part) : 0) * height);
      const left = (bar * width) / bars;
      drawn.fillStyle = left < played ? colors.color : colors.caretColor;
      drawn.fillRect(left, (height - tall) / 2, Math.max(1, width / bars - 1), tall);
    }
  };

  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    if (length > 0) seek(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * length);
  };
  slider.addEventListener("pointerdown", (event) => { slider.setPointerCapture(event.pointerId); point(event); });
  slider.addEventListener("pointermove", (event) => { if (event.buttons & 1) point(event); });
  slider.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - STEP_SECONDS, ArrowRight: at + STEP_SECONDS, Home: 0, End: length }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    seek(to);
  });
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  return {
    slider,
    draw,
    setPeaks: (given) => { peaks = given; draw(); },
    setPosition: (seconds, duration) => {
      [at, length] = [seconds, Number.isFinite(duration) ? duration : 0];
      slider.setAttribute("aria-valuemax", String(Math.round(length)));
      slider.setAttribute("aria-valuenow", String(Math.round(at)));
      slider.setAttribute("aria-valuetext", `${clock(at)} of ${clock(length)}`);
      draw();
    },
  };
};
