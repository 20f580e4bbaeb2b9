// The listening room: see README.md for its modules and what they share.
import "./filters.js";
import "./choices.js";
import "./desk.js";
import "./about.js";
import { read } from "./address.js";
import { follow } from "./live.js";

await Promise.all([follow(), read()]);
