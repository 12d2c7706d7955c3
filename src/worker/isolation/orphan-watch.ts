// Ends the process when its parent has gone, although a handler may block the event loop.
const PARENT = process.ppid;
const EVERY_MS = 1_000;

setInterval(() => {
  if (process.ppid !== PARENT) process.kill(process.pid, 'SIGKILL');
}, EVERY_MS);
