package journal

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// ErrInterrupted is the cause of a context that Interruptible cancelled.
var ErrInterrupted = errors.New("interrupted: the same command goes on where this one stopped")

// ExitInterrupted is the exit code after an interrupt, as shells have it.
const ExitInterrupted = 130

// Interruptible returns a context that the first Ctrl-C or SIGTERM cancels, after
// calling say with a line for the user: work in flight may end, and no new work
// should begin. The second one ends the process at once with ExitInterrupted;
// the journal takes no harm from it. Call stop to let signals do what they did.
func Interruptible(parent context.Context, say func(string)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-signals:
		}
		// Ready for the second before anything that might block.
		go func() {
			select {
			case <-done:
			case <-signals:
				os.Exit(ExitInterrupted)
			}
		}()
		cancel(ErrInterrupted)
		say("finishing the work in flight; press again to stop at once")
	}()
	var stopped bool
	return ctx, func() {
		if !stopped {
			stopped = true
			signal.Stop(signals)
			close(done)
			cancel(context.Canceled)
		}
	}
}
