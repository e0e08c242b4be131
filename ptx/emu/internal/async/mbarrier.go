// Package async holds the state machines of asynchronous copies: mbarrier
// objects, groups of copies, and tensor maps with the boxes they describe. They
// know nothing of threads or of memory: the emulator moves the bytes.
package async

import "fmt"

// MaxCount is the largest arrival count and pending count of an mbarrier, and
// the largest magnitude of its transaction count (PTX ISA, "Phase of the
// mbarrier object" and "Tracking asynchronous operations by the mbarrier object").
const MaxCount = 1<<20 - 1

// An MBarrier is the opaque 64-bit mbarrier object as it lies in shared memory,
// and also the state token that arrive returns:
//
//	bits  0–19  expected arrivals of a phase
//	bits 20–39  arrivals the current phase still waits for
//	bits 40–61  transaction count, two's complement
//	bit  62     parity of the current phase
//	bit  63     set in every valid object, so that zeroed memory is none
type MBarrier uint64

const (
	mbarValid  = 1 << 63
	mbarParity = 1 << 62
	txBits     = 22
	txMask     = 1<<txBits - 1
)

// InitMBarrier makes an object whose phases take count arrivals.
func InitMBarrier(count uint32) (MBarrier, error) {
	if count == 0 || count > MaxCount {
		return 0, fmt.Errorf("mbarrier.init with count %d; it must lie in 1..%d", count, MaxCount)
	}
	return MBarrier(mbarValid | uint64(count)<<20 | uint64(count)), nil
}

// Valid says whether the bits can be an initialised mbarrier.
func (b MBarrier) Valid() bool { return b&mbarValid != 0 }

// Expected is the number of arrivals of each phase.
func (b MBarrier) Expected() uint32 { return uint32(b) & MaxCount }

// Pending is the number of arrivals that the current phase waits for.
func (b MBarrier) Pending() uint32 { return uint32(b>>20) & MaxCount }

// Tx is the number of bytes that the current phase waits for. It is negative
// while copies have completed that nobody announced yet.
func (b MBarrier) Tx() int32 {
	return int32(uint32(b>>40)&txMask<<(32-txBits)) >> (32 - txBits)
}

// Parity is that of the current, incomplete phase: 0 for a fresh object.
func (b MBarrier) Parity() uint32 { return uint32(b>>62) & 1 }

func (b MBarrier) with(pending uint32, tx int32) MBarrier {
	return b&^(MaxCount<<20|txMask<<40) | MBarrier(pending)<<20 | MBarrier(uint32(tx)&txMask)<<40
}

// settle completes the phase if nothing is pending.
func (b MBarrier) settle() (MBarrier, bool) {
	if b.Pending() != 0 || b.Tx() != 0 {
		return b, false
	}
	return (b ^ mbarParity).with(b.Expected(), 0), true
}

// Arrive counts n arrivals and says whether they completed the phase.
func (b MBarrier) Arrive(n uint32) (after MBarrier, completed bool, err error) {
	return b.drop(n, b.Expected())
}

// ArriveDrop counts n arrivals and lowers by n what later phases expect.
func (b MBarrier) ArriveDrop(n uint32) (after MBarrier, completed bool, err error) {
	if n > b.Expected() {
		return b, false, fmt.Errorf("mbarrier.arrive_drop of %d leaves fewer than no participants: the barrier expects %d", n, b.Expected())
	}
	return b.drop(n, b.Expected()-n)
}

func (b MBarrier) drop(n, expected uint32) (MBarrier, bool, error) {
	if n == 0 || n > b.Pending() {
		return b, false, fmt.Errorf("%d arrivals at an mbarrier whose phase waits for %d of %d", n, b.Pending(), b.Expected())
	}
	b = b.with(b.Pending()-n, b.Tx())
	b = b&^MaxCount | MBarrier(expected)
	after, completed := b.settle()
	return after, completed, nil
}

// Undo takes back one arrival in advance, as cp.async.mbarrier.arrive without
// .noinc does: the pending count grows by one until the copies are complete.
func (b MBarrier) Undo() (MBarrier, error) {
	if b.Pending() == MaxCount {
		return b, fmt.Errorf("cp.async.mbarrier.arrive raises the pending count of an mbarrier above %d", MaxCount)
	}
	return b.with(b.Pending()+1, b.Tx()), nil
}

// ExpectTx raises the transaction count by bytes.
func (b MBarrier) ExpectTx(bytes uint32) (MBarrier, error) {
	tx := int64(b.Tx()) + int64(bytes)
	if bytes > MaxCount || tx > MaxCount {
		return b, fmt.Errorf("expect_tx of %d bytes raises the transaction count of an mbarrier from %d above %d", bytes, b.Tx(), MaxCount)
	}
	return b.with(b.Pending(), int32(tx)), nil
}

// CompleteTx lowers the transaction count by bytes and says whether that
// completed the phase. Bytes may complete before they are announced.
func (b MBarrier) CompleteTx(bytes uint32) (after MBarrier, completed bool, err error) {
	tx := int64(b.Tx()) - int64(bytes)
	if bytes > MaxCount || tx < -MaxCount {
		return b, false, fmt.Errorf("complete_tx of %d bytes lowers the transaction count of an mbarrier from %d below %d", bytes, b.Tx(), -MaxCount)
	}
	after, completed = b.with(b.Pending(), int32(tx)).settle()
	return after, completed, nil
}

// Passed answers test_wait with the token that an arrive gave: whether the phase
// of that arrive is complete.
func (b MBarrier) Passed(token MBarrier) bool { return (b^token)&mbarParity != 0 }

// PassedParity answers test_wait.parity: whether the phase of that parity is
// complete, taken to be the current or the one before it.
func (b MBarrier) PassedParity(parity uint32) bool { return b.Parity() != parity&1 }
