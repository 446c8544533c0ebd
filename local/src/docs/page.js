// Renders the chosen description, and puts a token of the stack into each request that is tried.
"use strict";

const form = document.querySelector("form");
let ui;

function show() {
  const chosen = form.api.selectedOptions[0];
  form.role.value = chosen.dataset.role;
  ui = SwaggerUIBundle({
    url: `/docs/${chosen.value}`,
    dom_id: "#api",
    deepLinking: true,
    tryItOutEnabled: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    onComplete: authorize,
  });
}

async function authorize() {
  const role = form.role.value ? `&role=${encodeURIComponent(form.role.value)}` : "";
  const answer = await fetch(`/_local/token?sub=${encodeURIComponent(form.sub.value)}${role}`);
  const text = await answer.text();
  if (answer.ok) ui.preauthorizeApiKey("token", text);
  form.querySelector("output").textContent = answer.ok
    ? `Requests are sent as ${form.sub.value}${form.role.value ? `, with the role ${form.role.value}` : ""}.`
    : `There is no token: ${text}`;
}

form.api.addEventListener("change", show);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  authorize();
});
show();
