//! The terminal that the view of `top` takes over: entered and left cleanly, read
//! without waiting, and written to by a thread of its own, so that a terminal that
//! takes nothing (Ctrl-S, a slow line) never keeps the loop from taking in events.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Write},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use crossterm::{
    cursor,
    event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    execute, queue, terminal,
};
use futures_core::Stream;
use ratatui::{Terminal, backend::CrosstermBackend, layout::Rect};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output::view::{Key, View};

/// How long to wait for a terminal that takes nothing before leaving it.
const PATIENCE: Duration = Duration::from_millis(300);

/// What came from the keyboard or the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A key for the view.
    Key(Key),
    /// The terminal has another size, or its picture is gone.
    Redraw,
    /// To quit: Ctrl-C, or the terminal is gone.
    Quit,
    /// To be suspended.
    Suspend,
    /// Nothing that means anything.
    Other,
}

/// A terminal taken over. Dropping it gives it back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Frame>>,
    frame: Frame,
    painter: Painter,
    keys: EventStream,
    suspend: Signal,
    /// The picture on the terminal is not the view's.
    stale: bool,
}

impl Screen {
    /// Takes the terminal over. To be called in the event loop's runtime.
    ///
    /// # Errors
    /// When it cannot be set up; it is then as before.
    pub(super) fn enter() -> anyhow::Result<Self> {
        restore_on_panic();
        let suspend = signal(SignalKind::from_raw(libc::SIGTSTP))?;
        let painter = Painter::start()?;
        let frame = Frame::default();
        take_over().context("cannot set up the terminal")?;
        let terminal = Terminal::new(CrosstermBackend::new(frame.clone()))
            .inspect_err(|_| give_back())
            .context("cannot set up the terminal")?;
        Ok(Self { terminal, frame, painter, keys: EventStream::new(), suspend, stale: true })
    }

    /// Draws the view, unless the terminal still has the last picture to take: then
    /// the next one will do.
    pub(super) fn draw(&mut self, view: &mut View) -> anyhow::Result<()> {
        if !self.painter.is_idle() {
            self.stale = true;
            return Ok(());
        }
        self.terminal.draw(|frame| view.draw(frame.area(), frame.buffer_mut()))?;
        self.stale = false;
        self.painter.paint(self.frame.take());
        Ok(())
    }

    /// Waits for input. May be dropped and called again at any time.
    pub(super) async fn input(&mut self) -> anyhow::Result<Input> {
        let Self { keys, suspend, .. } = self;
        let next = poll_fn(|context| Pin::new(&mut *keys).poll_next(context));
        let event = tokio::select! {
            event = next => event,
            _ = suspend.recv() => return Ok(Input::Suspend),
        };
        Ok(match event {
            Some(Ok(event)) => meaning(&event),
            // The terminal is gone.
            Some(Err(_)) | None => Input::Quit,
        })
    }

    /// Draws everything anew with the next picture.
    pub(super) fn redraw(&mut self) -> anyhow::Result<()> {
        // Not `clear`, which asks the terminal where its cursor is: the answer would
        // come among the keys.
        let size = self.terminal.size()?;
        Ok(self.terminal.resize(Rect::new(0, 0, size.width, size.height))?)
    }

    /// Gives the terminal back, stops this process until it is continued, and takes
    /// the terminal over again.
    pub(super) fn suspend(&mut self) -> anyhow::Result<()> {
        self.painter.wait();
        give_back();
        // SAFETY: stops the process; no memory is involved.
        unsafe { libc::raise(libc::SIGSTOP) };
        take_over().context("cannot set up the terminal again")?;
        self.redraw()
    }

    /// Whether a picture was left out.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.painter.wait();
        give_back();
    }
}

/// What an event asks for.
fn meaning(event: &Event) -> Input {
    match event {
        Event::Resize(..) => Input::Redraw,
        Event::Key(key) if key.kind != KeyEventKind::Release => key_meaning(*key),
        _ => Input::Other,
    }
}

fn key_meaning(key: KeyEvent) -> Input {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Input::Quit,
            KeyCode::Char('z') => Input::Suspend,
            KeyCode::Char('l') => Input::Redraw,
            _ => Input::Other,
        };
    }
    Input::Key(match key.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return Input::Other,
    })
}

/// The bytes of one picture.
#[derive(Clone, Default)]
struct Frame(Rc<RefCell<Vec<u8>>>);

impl Frame {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread that writes to the terminal.
struct Painter {
    pictures: SyncSender<Vec<u8>>,
    idle: Arc<AtomicBool>,
}

impl Painter {
    fn start() -> io::Result<Self> {
        let (pictures, received) = sync_channel::<Vec<u8>>(1);
        let idle = Arc::new(AtomicBool::new(true));
        let done = Arc::clone(&idle);
        let paint = move || {
            for picture in received {
                let mut out = io::stdout().lock();
                // A terminal that is gone shows as the end of its input.
                let _ = out.write_all(&picture).and_then(|()| out.flush());
                done.store(true, Ordering::Release);
            }
        };
        thread::Builder::new().name("screen".to_owned()).stack_size(64 << 10).spawn(paint)?;
        Ok(Self { pictures, idle })
    }

    fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire)
    }

    fn paint(&self, picture: Vec<u8>) {
        self.idle.store(false, Ordering::Release);
        // Room for one; and it was idle.
        let _ = self.pictures.try_send(picture);
    }

    /// Waits for the last picture, but not for ever.
    fn wait(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.is_idle() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn take_over() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)
        .inspect_err(|_| give_back())
}

/// Puts the terminal back as it was. What fails cannot be helped.
fn give_back() {
    let mut out = io::stdout();
    let _ = queue!(out, cursor::Show, terminal::LeaveAlternateScreen);
    let _ = out.flush();
    let _ = terminal::disable_raw_mode();
}

/// A panic must not leave the terminal unusable, nor its message unseen.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            earlier(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Input {
        meaning(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn control_keys_do_what_they_do_in_every_terminal() {
        let control = |c| press(KeyCode::Char(c), KeyModifiers::CONTROL);
        assert_eq!(control('c'), Input::Quit);
        assert_eq!(control('z'), Input::Suspend);
        assert_eq!(control('l'), Input::Redraw);
        assert_eq!(control('q'), Input::Other);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), Input::Key(Key::Char('c')));
        assert_eq!(press(KeyCode::Char('G'), KeyModifiers::SHIFT), Input::Key(Key::Char('G')));
        assert_eq!(press(KeyCode::F(1), KeyModifiers::NONE), Input::Other);
    }

    #[test]
    fn a_released_key_is_none_and_a_new_size_draws() {
        let released =
            KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(meaning(&Event::Key(released)), Input::Other);
        assert_eq!(meaning(&Event::Resize(1, 1)), Input::Redraw);
    }
}
