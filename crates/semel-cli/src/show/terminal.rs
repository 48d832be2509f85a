//! A run on a terminal: a live board while it works, gone when it ends.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use semel::thought::report::Report;
use semel::words::event::Event;
use semel::words::pipeline::Pipeline;

use super::board::{self, Now};
use super::style::Styles;
use super::text::visible;

/// How often the board is drawn.
const TICK: Duration = Duration::from_millis(125);

/// What the board shows.
struct State {
    pipeline: Pipeline,
    header: String,
    report: Report,
    running: Vec<Now>,
    styles: Styles,
}

/// The live board.
pub(crate) struct Terminal {
    state: Arc<Mutex<State>>,
    bar: Option<ProgressBar>,
    styles: Styles,
}

impl Terminal {
    /// A board that shows nothing until something is at work.
    pub(crate) fn new(pipeline: &Pipeline, styles: Styles) -> Self {
        let state = State {
            pipeline: pipeline.clone(),
            header: String::new(),
            report: Report::new(),
            running: Vec::new(),
            styles,
        };
        Self { state: Arc::new(Mutex::new(state)), bar: None, styles }
    }

    /// Takes what stands above the board.
    pub(crate) fn header(&self, header: String) {
        self.lock().header = header;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while drawing")
    }

    /// Takes an event in.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let now = Instant::now();
        {
            let mut state = self.lock();
            state.report.take(event, now);
            match event {
                Event::Attempt { task, .. } => {
                    state.running.push(Now { task: task.to_string(), since: now });
                }
                Event::AttemptFailed { task, .. } | Event::Settled { task, .. }
                    if !state.running.is_empty() =>
                {
                    let name = task.to_string();
                    state.running.retain(|running| running.task != name);
                }
                _ => {}
            }
        }
        match event {
            Event::Attempt { .. } => self.draw(),
            Event::Printed { task, bytes } => {
                let text = String::from_utf8_lossy(bytes);
                for line in text.lines() {
                    self.print(&format!(
                        "{} {}",
                        self.styles.dim(&format!("{task} |")),
                        visible(line)
                    ));
                }
            }
            _ => {}
        }
    }

    /// Begins to draw.
    fn draw(&mut self) {
        if self.bar.is_some() {
            return;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let state = Arc::clone(&self.state);
        let board = move |_: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
            let state = state.lock().expect("nobody panics while drawing");
            let lines = board::live(
                &state.pipeline,
                &state.report,
                &state.running,
                state.styles,
                Instant::now(),
                20,
            );
            // A line that cannot be drawn is drawn by the next tick.
            let _ = write!(out, "{}\n\n{}", state.header, lines.join("\n"));
        };
        let style = ProgressStyle::with_template("{board}");
        bar.set_style(style.expect("the template is a key").with_key("board", board));
        bar.enable_steady_tick(TICK);
        self.bar = Some(bar);
    }

    /// Prints a line above the board.
    pub(crate) fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => {
                let _ = std::io::Write::write_all(
                    &mut anstream::stderr().lock(),
                    format!("{line}\n").as_bytes(),
                );
            }
        }
    }

    /// Takes the board away.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
