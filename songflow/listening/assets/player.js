// The player at the foot of the page: one <audio>, its controls, and the takes that are compared in it.
import { fileOf, get, isStale } from "./api.js";
import { button, clock, iconButton, nameOf, setIcon } from "./controls.js";
import { element } from "./dom.js";
import { matchedGain } from "./loudness.js";
import { createWaveform, decodedPeaks, storedPeaks } from "./waveform.js";

const remembered = (name, otherwise) => {
  try { return JSON.parse(localStorage.getItem(`songflow.${name}`)) ?? otherwise; } catch { return otherwise; }
};
const remember = (name, value) => {
  try { localStorage.setItem(`songflow.${name}`, JSON.stringify(value)); } catch { /* a private window keeps nothing */ }
};

// `neighbour(song, step)` resolves to the song before or after one in what is shown, or null.
export const createPlayer = (bar, { neighbour, trouble, changed }) => {
  const audio = element("audio", { id: "audio", preload: "metadata" });
  const playing = element("strong", { id: "playing" });
  const facts = element("span", { className: "facts" });
  const time = element("span", { className: "time" });
  const extra = element("div", { className: "extra" });
  let current = null;
  let group = [];  // what `current` is compared with: the takes of its generation, or the songs of a comparison
  let hasGroup = false;
  let blind = false;
  let volume = remembered("volume", 1);
  let matched = remembered("matched", true);
  let loading = null;

  const applyGain = () => {
    const gain = matched && current !== null ? matchedGain(current, group) : 1;
    audio.volume = volume * (gain ?? 1);
    match.title = gain === null ? "The loudness of this song has not been measured." : "Play all songs equally loud";
  };
  const showTime = () => {
    time.textContent = `${clock(audio.currentTime)} / ${clock(audio.duration)}`;
    wave.setPosition(audio.currentTime, audio.duration);
  };
  const seekTo = (seconds) => {
    if (current === null || !Number.isFinite(audio.duration)) return;
    audio.currentTime = Math.min(audio.duration, Math.max(0, seconds));
    showTime();
  };
  const start = () => audio.play().catch((error) => {
    if (error.name !== "AbortError") trouble(`The song cannot be played: ${error.message}`);
  });

  const showWaveform = async (song, stored, signal) => {
    if (blind) return;  // a picture would tell which song it is
    const peaks = typeof stored === "string" ? storedPeaks(stored) : await decodedPeaks(fileOf(song, "audio"), signal);
    if (current?.id === song.id) wave.setPeaks(peaks);
  };
  const load = async (song, signal) => {
    const found = await get(`/songs/${song.id}`, {}, { signal });
    if (current?.id !== song.id) return;
    current = found;
    if (!hasGroup) group = found.takes.filter((one) => one.stored && !one.trashed);
    other.hidden = hasGroup || group.length < 2;
    applyGain();
    await showWaveform(song, found.measures?.waveform, signal);
  };

  // Play a song from a second on. In a blind comparison, `name` is shown in place of its title.
  const play = (song, { at = 0, among = null, name = null } = {}) => {
    loading?.abort();
    loading = new AbortController();
    const { signal } = loading;
    current = song;
    blind = name !== null;
    hasGroup = among !== null;
    group = among ?? [];
    bar.hidden = false;
    playing.textContent = name ?? nameOf(song);
    // A song of the grid has no request.
    facts.textContent = name === null ? song.request?.prompt ?? "" : "";
    other.hidden = true;
    wave.setPeaks([]);
    audio.src = fileOf(song, "audio");
    if (at > 0) audio.addEventListener("loadedmetadata", () => seekTo(at), { once: true, signal });
    applyGain();
    start();
    load(song, signal).catch((error) => {
      if (!isStale(error)) trouble(`What is known of this song's sound cannot be read: ${error.message}`);
    });
    changed(song, blind);
  };

  const toggle = () => {
    if (current === null) return;
    if (audio.paused) start(); else audio.pause();
  };
  const step = async (by) => {
    if (blind) return;
    try {
      const song = await neighbour(current, by);
      if (song) play(song);
    } catch (error) {
      trouble(`The ${by < 0 ? "previous" : "next"} song cannot be read: ${error.message}`);
    }
  };
  // The other take continues at the same second, so that the two can be compared.
  const otherTake = () => {
    if (hasGroup || group.length < 2) return;
    const at = group.findIndex((one) => one.id === current.id);
    play(group[(at + 1) % group.length], { at: audio.currentTime });
  };
  const setVolume = (value) => {
    volume = Math.min(1, Math.max(0, value));
    loud.value = String(Math.round(volume * 100));
    remember("volume", volume);
    applyGain();
  };
  const setMatched = (value) => {
    matched = value;
    match.checked = value;
    remember("matched", value);
    applyGain();
  };

  const wave = createWaveform(seekTo);
  const toggleButton = iconButton("play", "Play", toggle, { className: "icon play" });
  const other = button("Other take", otherTake, { id: "other", hidden: true });
  const loud = element("input", { type: "range", min: "0", max: "100", on: { input: () => setVolume(loud.valueAsNumber / 100) } });
  const match = element("input", { type: "checkbox", on: { change: () => setMatched(match.checked) } });

  const showState = () => setIcon(toggleButton, audio.paused ? "play" : "pause", audio.paused ? "Play" : "Pause");
  for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, showState);
  for (const name of ["timeupdate", "loadedmetadata", "seeked"]) audio.addEventListener(name, showTime);
  audio.addEventListener("error", () => { if (current !== null) trouble("The song cannot be played: its file is missing or damaged."); });

  bar.replaceChildren(
    element("div", { className: "transport" },
      iconButton("previous", "Previous song", () => step(-1)),
      toggleButton,
      iconButton("next", "Next song", () => step(1)),
      element("div", { className: "what" }, playing, facts)),
    element("div", { className: "position" }, wave.slider, time),
    element("div", { className: "settings" },
      other, extra,
      element("label", {}, "Volume ", loud),
      element("label", {}, match, " Equal loudness")),
    audio,
  );
  setVolume(volume);
  setMatched(matched);

  return {
    play,
    toggle,
    step,
    otherTake,
    seekTo,
    seekBy: (seconds) => seekTo(audio.currentTime + seconds),
    louder: (by) => setVolume(volume + by),
    toggleMatched: () => setMatched(!matched),
    redraw: wave.draw,
    // Play nothing, and show nothing of what was played.
    stop: () => {
      loading?.abort();
      current = null;
      blind = false;
      audio.pause();
      audio.removeAttribute("src");
      bar.hidden = true;
    },
    extra,  // where the current song is judged
    get current() { return current; },
    get blind() { return blind; },
    get position() { return audio.currentTime; },
  };
};
