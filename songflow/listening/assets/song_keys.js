// The keys for the song that plays: hear it and judge it.
const SEEK_SECONDS = 5;
const LOUDER = 0.05;

export const songKeys = ({ player, judge }) => {
  const playing = () => player.current !== null && !player.blind;
  const judged = (run) => ({ when: playing, run: (key) => run(player.current, key) });
  return [
    { keys: [" "], does: "Play or pause", run: async () => { if (player.current === null) await player.step(1); else player.toggle(); } },
    { keys: ["ArrowLeft", "ArrowRight"], does: `Back or forward ${SEEK_SECONDS} s`, run: (key) => player.seekBy(key === "ArrowLeft" ? -SEEK_SECONDS : SEEK_SECONDS) },
    { keys: ["ArrowUp", "ArrowDown"], does: "Previous or next song", run: (key) => player.step(key === "ArrowUp" ? -1 : 1) },
    { keys: ["p", "j"], does: "Previous or next song", run: (key) => player.step(key === "p" ? -1 : 1) },
    { keys: ["Home"], does: "To the song's beginning", when: () => player.current !== null, run: () => player.seekTo(0) },
    { keys: ["t"], does: "The other take, at the same second", run: player.otherTake },
    { keys: ["-", "+"], does: "Quieter or louder", run: (key) => player.louder(key === "-" ? -LOUDER : LOUDER) },
    { keys: ["m"], does: "Equal loudness on or off", run: player.toggleMatched },
    { keys: ["1", "2", "3", "4", "5"], does: "Stars", ...judged((song, key) => judge.toggleRating(song, Number(key))) },
    { keys: ["0"], does: "Remove the rating", ...judged((song) => judge.rate(song, null)) },
    { keys: ["k"], does: "Keep", ...judged((song) => judge.decide(song, "keep")) },
    { keys: ["d"], does: "Discard", ...judged((song) => judge.decide(song, "discard")) },
    { keys: ["n"], does: "Notes", ...judged((song) => judge.editNotes(song)) },
    { keys: ["u"], does: "Undo the last judgement", run: judge.undo },
  ];
};
