//! A real browser: Debian's Chromium without a window, driven over WebDriver.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{By, ChromiumLikeCapabilities, DesiredCapabilities, Key, TypingData, WebDriver, WebElement};

use crate::process::{on_path, signal};
use crate::wait::{TIMEOUT, eventually, pause};
use crate::workspace;

/// The capabilities of a browser, and the view of the page.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The window's width in CSS pixels.
    pub width: u32,
    /// Whether the user has chosen a dark theme.
    pub dark: bool,
    /// Whether scripts run.
    pub scripts: bool,
}

/// A desktop window with the light theme.
pub const DESK: View = View { width: 1280, dark: false, scripts: true };
/// A phone, with the light theme.
pub const PHONE: View = View { width: 390, dark: false, scripts: true };
/// The narrowest window that a page must fit (WCAG 2.2, 1.4.10): a small phone, or a desktop at 400 %.
pub const NARROW: View = View { width: 320, dark: false, scripts: true };

/// A browser with its own profile. Dropping the value ends it.
pub struct Browser {
    /// The window.
    pub driver: WebDriver,
    process: Child,
    _profile: TempDir,
}

/// Whether the browser and the accessibility checker are installed. Without them a test must not pass silently: on a
/// build server (if `CI` is set) it fails; elsewhere it prints that it did not run.
pub fn is_available() -> bool {
    let missing: Vec<&str> = [
        ("chromium", on_path("chromium").is_some()),
        ("chromedriver (Debian: chromium-driver)", on_path("chromedriver").is_some()),
        ("axe-core (npm ci --prefix tests/browser)", axe().is_file()),
    ]
    .into_iter()
    .filter_map(|(name, there)| (!there).then_some(name))
    .collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    assert!(std::env::var_os("CI").is_none(), "the browser tests need {missing}");
    eprintln!("\n!!! NOT RUN: the browser tests need {missing}\n");
    false
}

fn axe() -> PathBuf {
    workspace().join("tests/browser/node_modules/axe-core/axe.min.js")
}

impl Browser {
    /// Starts a browser.
    pub async fn start(view: View) -> Self {
        let profile = TempDir::new().expect("a folder");
        let (process, port) = launch();
        let mut capabilities = DesiredCapabilities::chrome();
        let profile_argument = format!("--user-data-dir={}", profile.path().display());
        for argument in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            &profile_argument,
        ] {
            capabilities.add_arg(argument).expect("an argument");
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await.expect("a browser");
        let browser = Self { driver, process, _profile: profile };
        browser.look(view).await;
        browser.watch().await;
        browser
    }

    /// Changes the view.
    pub async fn look(&self, view: View) {
        let View { width, dark, scripts } = view;
        let theme = if dark { "dark" } else { "light" };
        self.command(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] }),
        )
        .await;
        let metrics = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
        self.command("Emulation.setScriptExecutionDisabled", json!({ "value": !scripts })).await;
    }

    async fn command(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.expect(method)
    }

    /// Records violations of the pages' policy and calls of hostile scripts, across pages.
    async fn watch(&self) {
        let source = "
            const note = text => sessionStorage.setItem('noted', (sessionStorage.getItem('noted') || '') + text + '\\n');
            addEventListener('securitypolicyviolation', event => note(event.violatedDirective + ' ' + event.blockedURI));
            addEventListener('error', event => note('error ' + event.message));
            window.alert = text => note('alert ' + text);";
        self.command("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source })).await;
    }

    /// Violations of the policy and calls of hostile scripts so far.
    pub async fn noted(&self) -> String {
        let noted =
            self.driver.execute("return sessionStorage.getItem('noted') || ''", vec![]).await.expect("a script");
        noted.json().as_str().expect("text").to_owned()
    }

    /// Whether the scripts of a page run.
    pub async fn runs_scripts(&self) -> bool {
        self.open("data:text/html,<title>no</title><script>document.title = 'yes'</script>").await;
        self.driver.title().await.expect("a title") == "yes"
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.driver.goto(url).await.expect(url);
    }

    /// The address of the page.
    pub async fn url(&self) -> String {
        self.driver.current_url().await.expect("an address").to_string()
    }

    /// The visible text; empty while the browser loads another page.
    pub async fn text(&self) -> String {
        let text = self.driver.execute("return document.body ? document.body.innerText : ''", vec![]).await;
        text.ok().and_then(|text| text.json().as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Waits until the page shows all these texts.
    ///
    /// # Panics
    /// If it does not show one of them.
    pub async fn shows(&self, texts: &[&str]) {
        let started = Instant::now();
        loop {
            let page = self.text().await;
            let missing: Vec<_> = texts.iter().filter(|text| !page.contains(**text)).collect();
            if missing.is_empty() {
                return;
            }
            assert!(started.elapsed() < TIMEOUT, "{missing:?} not on {}: {page}", self.url().await);
            pause(started).await;
        }
    }

    /// Clicks a link or a button with this label, and waits for the next page.
    pub async fn press(&self, label: &str) {
        let path = format!("//*[self::a or self::button][contains(normalize-space(), \"{label}\")]");
        let page = self.driver.find(By::Tag("html")).await.expect("a page");
        self.driver.find(By::XPath(path)).await.expect(label).click().await.expect(label);
        self.leaves(&page).await;
    }

    /// Waits until another page has replaced this one.
    async fn leaves(&self, page: &WebElement) {
        eventually("another page", || async { page.tag_name().await.is_err().then_some(()) }).await;
    }

    /// Replaces the text of a field.
    pub async fn fill(&self, id: &str, text: &str) {
        let field = self.driver.find(By::Id(id)).await.expect(id);
        field.clear().await.expect(id);
        field.send_keys(text).await.expect(id);
    }

    /// Chooses an option of a list by its value.
    pub async fn choose(&self, id: &str, value: &str) {
        let option = format!("#{id} option[value=\"{value}\"]");
        self.driver.find(By::Css(option)).await.expect(id).click().await.expect(value);
    }

    /// Ticks every box with this name.
    pub async fn tick_all(&self, name: &str) {
        let boxes = self.driver.find_all(By::Css(format!("input[type=checkbox][name=\"{name}\"]"))).await.expect(name);
        for found in boxes {
            found.click().await.expect(name);
        }
    }

    /// Removes the cookies of this page's host.
    pub async fn forget_cookies(&self) {
        self.driver.delete_all_cookies().await.expect("removed");
    }

    /// Presses a key on the focused element.
    pub async fn key(&self, key: impl Into<TypingData>) {
        self.driver.action_chain().send_keys(key).perform().await.expect("takes the key");
    }

    /// Presses Enter on the focused element, and waits for the next page.
    pub async fn enter(&self) {
        let page = self.driver.find(By::Tag("html")).await.expect("a page");
        self.key(Key::Enter).await;
        self.leaves(&page).await;
    }

    /// Presses Enter on the focused element, a link within this page.
    pub async fn enter_in_place(&self) {
        self.key(Key::Enter).await;
    }

    /// The text of the focused element.
    pub async fn focus(&self) -> String {
        let focus = self.driver.active_element().await.expect("a focus");
        focus.text().await.expect("its text")
    }

    /// The text of a field.
    pub async fn value(&self, id: &str) -> String {
        let field = self.driver.find(By::Id(id)).await.expect(id);
        field.value().await.expect(id).unwrap_or_default()
    }

    /// Presses Tab until an element with this text or id has the focus.
    ///
    /// # Panics
    /// If it cannot be reached.
    pub async fn tab_to(&self, label: &str) {
        // After the last element the page itself has the focus, and its text contains every label.
        let script = "
            const [focus, label] = [document.activeElement, arguments[0]];
            return focus !== document.body && (focus.id === label || focus.innerText.includes(label));";
        for _ in 0..60 {
            self.key(Key::Tab).await;
            let found = self.driver.execute(script, vec![json!(label)]).await.expect("a script");
            if found.json() == true {
                return;
            }
        }
        panic!("{label} cannot be reached by the Tab key on {}", self.url().await);
    }

    /// The number of pixels by which the page is wider than the window.
    pub async fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.driver.execute(script, vec![]).await.expect("a script").json().as_i64().expect("a number")
    }

    /// The serious and critical findings of axe on this page.
    pub async fn accessibility_findings(&self) -> Vec<String> {
        let source = std::fs::read_to_string(axe()).expect("axe-core");
        self.driver.execute(source, vec![]).await.expect("axe loads");
        let script = "const done = arguments[arguments.length - 1]; axe.run().then(found => done(found.violations), error => done([{impact: 'serious', id: String(error), nodes: []}]))";
        let found = self.driver.execute_async(script, vec![]).await.expect("axe runs");
        let violations = found.json().as_array().cloned().expect("a list");
        let serious = |violation: &&Value| matches!(violation["impact"].as_str(), Some("serious" | "critical"));
        let told = |violation: &Value| format!("{}: {}", violation["id"], violation["nodes"]);
        violations.iter().filter(serious).map(told).collect()
    }

    /// A screenshot of the whole page.
    pub async fn picture(&self) -> Vec<u8> {
        let size = self.driver.execute("return document.documentElement.scrollHeight", vec![]).await.expect("a script");
        let width = self.driver.execute("return document.documentElement.clientWidth", vec![]).await.expect("a script");
        let metrics = json!({ "width": width.json(), "height": size.json(), "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
        self.driver.screenshot_as_png().await.expect("a picture")
    }

    /// Ends the browser.
    pub async fn quit(self) {
        self.driver.clone().quit().await.expect("ends");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser on SIGTERM. After `quit` the browser has already ended.
        if matches!(self.process.try_wait(), Ok(None)) {
            signal(self.process.id(), "TERM");
            let _ = self.process.wait();
        }
    }
}

/// Starts the driver. With `--port=0` it uses an IPv4 port that the system chooses, and ends if another program has the
/// same IPv6 port. That can happen by chance, so a driver that ends is started again.
fn launch() -> (Child, u16) {
    let mut said = String::new();
    for _ in 0..10 {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        // "ChromeDriver was started successfully on port 39167."
        let port = lines.find_map(|line| {
            said += &format!("{line}\n");
            line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        if let Some(port) = port {
            std::thread::spawn(move || lines.for_each(drop));
            return (process, port);
        }
        process.wait().expect("it has ended");
    }
    panic!("chromedriver does not start: {said}")
}
