use super::*;

fn client() -> (Client, mpsc::Receiver<io::Result<Frame<Bytes>>>) {
    let (pieces, receiver) = mpsc::channel(4);
    (Client { pieces: Some(pieces), ..Client::default() }, receiver)
}

fn text(frame: Option<io::Result<Frame<Bytes>>>) -> String {
    let bytes = frame.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
}

#[test]
fn i15_the_last_byte_is_held_back_until_the_record_is_durable() {
    run(async {
        let (mut client, mut heard) = client();
        client.pass(Bytes::from("hal"), false).await;
        client.pass(Bytes::from("f"), true).await;
        assert_eq!(text(heard.recv().await), "hal");
        assert!(heard.try_recv().is_err(), "nothing more is heard");
        assert!(client.end(HeaderMap::new()).await);
        assert_eq!(text(heard.recv().await), "f");
        assert!(heard.recv().await.is_none());
    });
}

#[test]
fn i15_an_answer_that_was_not_recorded_has_no_end() {
    run(async {
        let (mut client, mut heard) = client();
        client.pass(Bytes::from("half"), true).await;
        client.abort().await;
        assert_eq!(text(heard.recv().await), "hal");
        assert!(heard.recv().await.unwrap().is_err());
    });
}

#[test]
fn a_client_that_has_gone_has_no_answer() {
    run(async {
        let (mut client, heard) = client();
        drop(heard);
        client.pass(Bytes::from("whole"), true).await;
        assert!(!client.end(HeaderMap::new()).await);
    });
}
