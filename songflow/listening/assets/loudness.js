// Equal loudness: songs that are compared are played at one level, so that the louder one does not win.

// EBU R 128's programme level, in LUFS. Songs are only made quieter than their files, which therefore never clip.
const TARGET = -23;
const QUIETEST = -45;

// Which measure all songs of a group have: the loudness, else the mean level; null if one has neither.
const common = (songs) =>
  ["loudness", "rms_db"].find((name) => songs.every((song) => Number.isFinite(song[name]))) ?? null;

// The gain, 0..1, for a song among those it is compared with; null if their levels are not known.
export const matchedGain = (song, group) => {
  const songs = [song, ...group];
  const measure = common(songs);
  if (measure === null) return null;
  const target = Math.max(QUIETEST, Math.min(TARGET, ...songs.map((one) => one[measure])));
  return Math.min(1, 10 ** ((target - song[measure]) / 20));
};
