// Hides the messages that do not contain all words typed into the field. "…" in a message matches anything.
document.addEventListener("DOMContentLoaded", () => {
    const field = document.getElementById("message-filter");
    if (!field) return;
    const entries = [...document.querySelectorAll("ul.messages > li")];
    const matches = (template, typed) =>
        template.includes(typed) ||
        new RegExp("^" + template.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*") + "$").test(typed);
    field.addEventListener("input", () => {
        const typed = field.value.trim().toLowerCase().replace(/^\w+(error|warning): /, "");
        for (const entry of entries) {
            entry.hidden = !matches(entry.querySelector("code").textContent.trim().toLowerCase(), typed);
        }
    });
});
