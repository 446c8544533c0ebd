// Node loads this module first. Pauses are written down, and not made.

import { appendFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import timers from "node:timers/promises";

timers.setTimeout = async (milliseconds) => appendFileSync(process.env.PAUSES, `${milliseconds / 1000}\n`);
syncBuiltinESMExports();
