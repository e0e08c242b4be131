package async

import "testing"

func TestMBarrierPhases(t *testing.T) {
	b, err := InitMBarrier(3)
	if err != nil || !b.Valid() || b.Pending() != 3 || b.Parity() != 0 {
		t.Fatalf("fresh: %x %v", uint64(b), err)
	}
	if !b.PassedParity(1) || b.PassedParity(0) {
		t.Error("a fresh barrier has passed parity 1 and not 0")
	}
	token := b
	for i := range 3 {
		var done bool
		b, done, err = b.Arrive(1)
		if err != nil || done != (i == 2) {
			t.Fatalf("arrival %d: done %v, %v", i, done, err)
		}
	}
	if b.Pending() != 3 || b.Parity() != 1 || !b.PassedParity(0) || !b.Passed(token) {
		t.Errorf("after a phase: %x", uint64(b))
	}
	if _, _, err := b.Arrive(4); err == nil {
		t.Error("four arrivals of three passed")
	}
	b, done, err := b.ArriveDrop(1)
	if err != nil || done || b.Expected() != 2 || b.Pending() != 2 {
		t.Errorf("drop: %x %v %v", uint64(b), done, err)
	}
	b, done, err = b.Arrive(2)
	if err != nil || !done || b.Pending() != 2 || b.Parity() != 0 {
		t.Errorf("after drop: %x %v %v", uint64(b), done, err)
	}
}

func TestMBarrierTransactions(t *testing.T) {
	b, _ := InitMBarrier(1)
	b, done, _ := b.CompleteTx(512) // before anyone announces it
	if done || b.Tx() != -512 {
		t.Fatalf("early complete: tx %d, done %v", b.Tx(), done)
	}
	b, _ = b.ExpectTx(1024)
	b, done, _ = b.Arrive(1)
	if done || b.Tx() != 512 || b.Pending() != 0 {
		t.Fatalf("tx %d pending %d done %v", b.Tx(), b.Pending(), done)
	}
	b, done, _ = b.CompleteTx(512)
	if !done || b.Parity() != 1 || b.Pending() != 1 || b.Tx() != 0 {
		t.Errorf("tx %d pending %d done %v", b.Tx(), b.Pending(), done)
	}
	if _, err := b.ExpectTx(MaxCount + 1); err == nil {
		t.Error("too large expect_tx passed")
	}
	b, _ = b.ExpectTx(MaxCount)
	if b.Tx() != MaxCount {
		t.Errorf("tx %d", b.Tx())
	}
	if _, err := b.ExpectTx(1); err == nil {
		t.Error("overflowing expect_tx passed")
	}
	if _, err := InitMBarrier(0); err == nil {
		t.Error("count 0 passed")
	}
	if _, err := InitMBarrier(MaxCount + 1); err == nil {
		t.Error("count above the maximum passed")
	}
	if MBarrier(0).Valid() {
		t.Error("zero memory is no mbarrier")
	}
}
