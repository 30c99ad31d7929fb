// Follows one asset, in a browser or in Node. In the environment here: API_URL, TOKEN.
const api = process.env.API_URL;
const fileId = process.argv[2];

async function watch(onFrame) {
  const answer = await fetch(`${api}/v1/tickets`, {
    method: "POST",
    headers: { authorization: `Bearer ${process.env.TOKEN}` },
  });
  const { ticket } = await answer.json();
  const socket = new WebSocket(`${api.replace(/^http/, "ws")}/v1/assets/${fileId}/status?ticket=${ticket}`);
  socket.onmessage = ({ data }) => {
    if (onFrame(JSON.parse(data))) {
      socket.onclose = null;
      socket.close();
    }
  };
  // Deployments close sockets: come back with a new ticket, and the first frame is the asset as it is then.
  socket.onclose = ({ code }) => {
    if (code === 4401) console.error("The token has ended.");
    else setTimeout(watch, 1000, onFrame);
  };
}

const ends = ["distributed", "evicted", "failed", "cancelled", "deleted"];
await watch((frame) => {
  if (frame.type === "progress") console.log(`${Math.round(frame.percent)} %`, frame.etaSeconds);
  if (frame.type !== "snapshot" && frame.type !== "asset") return false;
  console.log(frame.asset.state, frame.asset.problem?.code ?? "");
  return ends.includes(frame.asset.state);
});
