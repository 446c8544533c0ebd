// https://www.npmjs.com/package/express-idempotency, with its in-memory adapter, as its README shows it.
import idempotency from "express-idempotency";
import { serve } from "./fixture.mjs";

serve((app, answers) => {
  app.post("*", idempotency.idempotency());
  app.patch("*", idempotency.idempotency());
  app.all("*", (request, response) => {
    if (idempotency.getSharedIdempotencyService().isHit(request)) return;
    answers(request, response);
  });
});
