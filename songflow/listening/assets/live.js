// Whether songs have changed elsewhere, such as by a run that makes more of them.
import { get } from "./api.js";
import { room } from "./bus.js";
import { byId } from "./dom.js";

const EVERY_MS = 2000;
let number = null;

const look = async () => {
  const state = await get("/library");
  byId("library").textContent = state.library;
  room.emit("library", state);
  if (number !== null && number !== state.number) room.emit("number", state);
  number = state.number;
};

export const follow = async () => {
  try {
    if (!document.hidden) await look();
  } catch (error) {
    room.trouble(`The room does not answer: ${error.message}`);
  }
  setTimeout(follow, EVERY_MS);
};
